import type { Context } from 'hono'
import { within } from '../within.ts'
import type { Session } from './session.ts'
import type { SignInParts } from './sign-in-source.ts'

/** How long a sign-in waits to hear who is signed in before it goes on as if nobody were. */
const sessionWithinMs = 1000

/** A session that can't be read, or not in time, doesn't keep anybody from signing in anew. */
export async function sessionOf({ sessions }: SignInParts, c: Context): Promise<Session | undefined> {
  let session: Session | undefined
  const find = async () => {
    session = await sessions.read(c)
  }
  await within(sessionWithinMs, find())
  return session
}
