import { setTimeout as delay } from 'node:timers/promises'
import type { Database } from '../db/client.ts'
import { loginEventLag } from '../db/login-events.ts'
import { databaseNow, summariseWave, waveProgress, type WaveSummary } from '../db/wave.ts'
import { signIn } from './embedded/browser.ts'
import type { SyncQueue } from './queue/backend.ts'

export type Wave = WaveSummary & {
  /** From the first redirect to the last run's end. */
  seconds: number
  signInErrors: readonly string[]
}

export type WaveParts = {
  db: Database
  queue: SyncQueue
  publicUrl: string
  slug: string
  userPrincipalNames: readonly string[]
  /** Called now and then. */
  onProgress: (done: { signedIn: number; synced: number }) => void
  signal: AbortSignal
}

/** Sign-ins at once; a browser's worth of redirects each. */
const atOnce = 10

/** Milliseconds between two looks at the database. */
const lookEvery = 150

/** Signs everybody in through the real OAuth flow and waits until every login event was followed by a run. */
export async function runWave(parts: WaveParts): Promise<Wave> {
  const { db, userPrincipalNames, signal } = parts
  const begun = performance.now()
  const since = await databaseNow(db)
  let signedIn = 0
  const signInErrors: string[] = []
  const waiting = [...userPrincipalNames]
  const signInNext = async () => {
    for (let person = waiting.pop(); person !== undefined && !signal.aborted; person = waiting.pop()) {
      try {
        await signIn(parts.publicUrl, parts.slug, person)
        signedIn += 1
      } catch (error) {
        signInErrors.push(error instanceof Error ? error.message : 'sign-in failed')
      }
    }
  }
  const signingIn = Promise.all(Array.from({ length: atOnce }, signInNext))
  let everyoneIn = false
  void signingIn.then(() => (everyoneIn = true))
  while (!signal.aborted) {
    const expected = everyoneIn ? signedIn : Number.POSITIVE_INFINITY
    const { ended } = await waveProgress(db, since)
    parts.onProgress({ signedIn, synced: ended })
    if (ended >= expected || (everyoneIn && (await isIdle(parts)))) break
    await delay(lookEvery, undefined, { signal }).catch(() => undefined)
  }
  await signingIn
  return { ...(await summariseWave(db, since)), seconds: (performance.now() - begun) / 1000, signInErrors }
}

/** Nothing waits, runs or is due: what hasn't ended by now has failed for good. */
async function isIdle({ db, queue }: WaveParts): Promise<boolean> {
  const { waiting } = await loginEventLag(db)
  const counts = await queue.getJobCounts('waiting', 'active', 'delayed', 'prioritized')
  return waiting === 0 && Object.values(counts).every((jobs) => jobs === 0)
}
