import { z } from 'zod'
import { expiredPageToken } from './errors.ts'

const pageToken = z.object({ after: z.string(), page: z.int().min(2), advanced: z.boolean() })

/** Where the next page begins, which page it is, and whether its first page was an advanced query. */
export type PageToken = z.infer<typeof pageToken>

/** Real skip tokens begin like this; clients must not look inside. */
const prefix = 'RFNwdAIAAQ'

export function encodePageToken(token: PageToken): string {
  return prefix + Buffer.from(JSON.stringify(token), 'utf8').toString('base64url')
}

/** Refuses what no page ended with, as Graph refuses a token too old. */
export function decodePageToken(text: string): PageToken {
  const decoded = Buffer.from(text.slice(prefix.length), 'base64url').toString('utf8')
  try {
    return pageToken.parse(JSON.parse(decoded))
  } catch {
    throw expiredPageToken()
  }
}
