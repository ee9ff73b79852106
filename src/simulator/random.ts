/** A repeatable source of randomness: the same seed gives the same sequence on every machine. */
export type Random = {
  /** The next 32 random bits. */
  bits(): number
  /** A whole number from 0 up to, but not including, `below`. */
  integer(below: number): number
  chance(probability: number): boolean
  pick<T>(list: readonly T[]): T
  /** An id of the shape Entra gives its objects: UUID version 4, lower case. */
  uuid(): string
}

/**
 * Starts a sequence (the sfc32 generator, whose 128 bits of state keep millions of ids from meeting).
 * `purpose` separates sequences of one seed, so that drawing more from one does not shift another.
 */
export function randomFrom(seed: number, purpose = ''): Random {
  let a = 0x9e3779b9 ^ seed
  let b = 0x243f6a88 ^ Math.floor(seed / 2 ** 32)
  let c = 0xb7e15162
  let counter = 1
  for (const character of purpose) c = Math.imul(c ^ (character.codePointAt(0) ?? 0), 0x01000193)

  const bits = (): number => {
    const result = (a + b + counter) | 0
    counter = (counter + 1) | 0
    a = b ^ (b >>> 9)
    b = (c + (c << 3)) | 0
    c = ((c << 21) | (c >>> 11)) + result
    return result >>> 0
  }
  for (let round = 0; round < 15; round++) bits()

  const integer = (below: number): number => Math.floor((bits() / 2 ** 32) * below)
  return {
    bits,
    integer,
    chance: (probability) => bits() / 2 ** 32 < probability,
    pick: (list) => {
      const picked = list[integer(list.length)]
      if (picked === undefined) throw new RangeError('cannot pick from an empty list')
      return picked
    },
    uuid: () => uuidFrom(bits(), bits(), bits(), bits()),
  }
}

function uuidFrom(first: number, second: number, third: number, fourth: number): string {
  const middle = hex((second & 0xffff0fff) | 0x00004000)
  const variant = hex((third & 0x3fffffff) | 0x80000000)
  return `${hex(first)}-${middle.slice(0, 4)}-${middle.slice(4)}-${variant.slice(0, 4)}-${variant.slice(4)}${hex(fourth)}`
}

function hex(word: number): string {
  return (word >>> 0).toString(16).padStart(8, '0')
}
