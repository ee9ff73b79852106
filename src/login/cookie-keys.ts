import { hkdfSync } from 'node:crypto'
import type { NamedKey } from '../config.ts'

/**
 * The session keys as used for one kind of cookie (HKDF, RFC 5869), so that what one kind carries never opens as another.
 * The first writes, all read.
 */
export function cookieKeys(sessionKeys: readonly NamedKey[], purpose: string): readonly NamedKey[] {
  if (sessionKeys.length === 0) throw new TypeError('cookies need at least one session key')
  return sessionKeys.map(({ id, key }) => ({
    id,
    key: new Uint8Array(hkdfSync('sha256', key, '', `entra-group-sync ${purpose}`, 32)),
  }))
}
