import { generateKeyPairSync, sign, X509Certificate, type KeyObject } from 'node:crypto'
import { isIP } from 'node:net'

/** A certificate authority made for one run, and a leaf for the loopback names; all PEM. */
export type LoopbackTls = { key: string; cert: string; caCertificate: string }

const day = 24 * 60 * 60 * 1000

/**
 * Makes keys and certificates for localhost, 127.0.0.1 and ::1 (and `host`); nothing is written to disk. Authorities that are
 * trusted at the same time need names of their own.
 */
export function createLoopbackTls(
  host: string,
  issuer = 'Simulated tenant certificate authority',
): LoopbackTls {
  const authority = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const leaf = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const names = [...new Set(['localhost', '127.0.0.1', '::1', host])].filter((name) => name !== '0.0.0.0')
  const ca = issueCertificate({
    issuer,
    signingKey: authority.privateKey,
    subject: issuer,
    publicKey: authority.publicKey,
    extensions: [
      extension('2.5.29.19', true, sequence(boolean(true))),
      extension('2.5.29.15', true, keyCertSign),
    ],
  })
  const cert = issueCertificate({
    issuer,
    signingKey: authority.privateKey,
    subject: 'localhost',
    publicKey: leaf.publicKey,
    extensions: [
      extension('2.5.29.17', false, sequence(...names.map(generalName))),
      extension('2.5.29.37', false, sequence(objectIdentifier('1.3.6.1.5.5.7.3.1'))),
    ],
  })
  const key = leaf.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
  return { key, cert: cert.toString(), caCertificate: ca.toString() }
}

/** A certificate that names a signing key in a key set; nobody validates its chain. */
export function certificateFor(subject: string, publicKey: KeyObject): X509Certificate {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  return issueCertificate({ issuer: subject, signingKey: privateKey, subject, publicKey, extensions: [] })
}

/** RFC 5280, section 4.1: version 3, signed with ECDSA and SHA-256 (RFC 5758). */
function issueCertificate(wanted: {
  issuer: string
  signingKey: KeyObject
  subject: string
  publicKey: KeyObject
  extensions: readonly Buffer[]
}): X509Certificate {
  const algorithm = sequence(objectIdentifier('1.2.840.10045.4.3.2'))
  const serialNumber = Buffer.from(crypto.getRandomValues(new Uint8Array(16)))
  serialNumber[0] = 0x40 | ((serialNumber[0] ?? 0) & 0x3f)
  const fields = [
    tagged(0xa0, integer(Buffer.from([2]))),
    integer(serialNumber),
    algorithm,
    distinguishedName(wanted.issuer),
    sequence(utcTime(Date.now() - day), utcTime(Date.now() + 30 * day)),
    distinguishedName(wanted.subject),
    wanted.publicKey.export({ type: 'spki', format: 'der' }),
  ]
  if (wanted.extensions.length > 0) fields.push(tagged(0xa3, sequence(...wanted.extensions)))
  const body = sequence(...fields)
  return new X509Certificate(sequence(body, algorithm, bitString(sign('sha256', body, wanted.signingKey))))
}

const keyCertSign = tagged(0x03, Buffer.from([0x02, 0x04]))

function extension(id: string, critical: boolean, value: Buffer): Buffer {
  return sequence(objectIdentifier(id), ...(critical ? [boolean(true)] : []), tagged(0x04, value))
}

function generalName(name: string): Buffer {
  if (isIP(name) === 4) return tagged(0x87, Buffer.from(name.split('.').map(Number)))
  if (name === '::1') return tagged(0x87, Buffer.from([...Array.from({ length: 15 }, () => 0), 1]))
  return tagged(0x82, Buffer.from(name, 'ascii'))
}

function distinguishedName(commonName: string): Buffer {
  const attribute = sequence(objectIdentifier('2.5.4.3'), tagged(0x0c, Buffer.from(commonName, 'utf8')))
  return sequence(tagged(0x31, attribute))
}

function utcTime(milliseconds: number): Buffer {
  const digits = new Date(milliseconds).toISOString().replaceAll(/[-:T]/g, '').slice(2, 14)
  return tagged(0x17, Buffer.from(`${digits}Z`, 'ascii'))
}

function objectIdentifier(dotted: string): Buffer {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number)
  const bytes = [first * 40 + second]
  for (const part of rest) {
    const septets = [part & 0x7f]
    for (let left = part >>> 7; left > 0; left >>>= 7) septets.unshift((left & 0x7f) | 0x80)
    bytes.push(...septets)
  }
  return tagged(0x06, Buffer.from(bytes))
}

function sequence(...parts: readonly Buffer[]): Buffer {
  return tagged(0x30, Buffer.concat(parts))
}

function integer(bytes: Buffer): Buffer {
  return tagged(0x02, bytes)
}

function boolean(value: boolean): Buffer {
  return tagged(0x01, Buffer.from([value ? 0xff : 0]))
}

function bitString(bytes: Buffer): Buffer {
  return tagged(0x03, Buffer.concat([Buffer.from([0]), bytes]))
}

/** One DER value: tag, length, content (ITU-T X.690). */
function tagged(tag: number, content: Buffer): Buffer {
  if (content.length < 0x80) return Buffer.concat([Buffer.from([tag, content.length]), content])
  const length = Buffer.alloc(4)
  length.writeUInt32BE(content.length)
  const significant = length.subarray(length.findIndex((byte) => byte !== 0))
  return Buffer.concat([Buffer.from([tag, 0x80 | significant.length]), significant, content])
}
