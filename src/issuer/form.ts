import type { Context } from 'hono'
import { OAuthRefusal } from './refusal.ts'

/**
 * The parameters of a request as RFC 6749, 3.2 has them: in a form, each at most once, an empty one as if left out.
 * @throws {OAuthRefusal} `invalid_request`.
 */
export async function formOf(c: Context): Promise<ReadonlyMap<string, string>> {
  if (!/^application\/x-www-form-urlencoded *(;|$)/i.test(c.req.header('Content-Type') ?? ''))
    throw new OAuthRefusal('invalid_request', 'content_type', 'send application/x-www-form-urlencoded')
  const form = new Map<string, string>()
  for (const [name, value] of new URLSearchParams(await c.req.text())) {
    if (form.has(name))
      throw new OAuthRefusal('invalid_request', 'repeated', 'a parameter is sent more than once')
    form.set(name, value)
  }
  return new Map([...form].filter(([, value]) => value !== ''))
}

/** @throws {OAuthRefusal} `invalid_request` where it is missing. */
export function required(form: ReadonlyMap<string, string>, name: string): string {
  const value = form.get(name)
  if (value === undefined) throw new OAuthRefusal('invalid_request', `no_${name}`, `${name} is missing`)
  return value
}
