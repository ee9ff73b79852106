import { randomUUID } from 'node:crypto'
import type { z } from 'zod'
import type { Database } from '../../db/client.ts'
import {
  insertLoginEvent,
  IsService,
  updateUserLabels,
  type NewLoginEvent,
  type StoredLoginEvent,
} from '../../db/login-events.ts'
import { findRunSince } from '../../db/sync-runs.ts'
import { databaseFailure } from '../database-failure.ts'
import { InvalidLoginEvent } from '../errors.ts'
import { within } from '../within.ts'
import { signedInUser, type LoginSucceeded, type SignedInUser } from './signed-in-user.ts'
import type { Vault } from './vault.ts'

export type LoginParts = {
  db: Database
  vault: Vault
  /** Slug of the source people sign in through. */
  source: string
  /** False where no run follows: the source has no group sync. */
  syncs: boolean
  /** Hands the stored event to the queue; false if it couldn't. */
  enqueue: (event: StoredLoginEvent) => Promise<boolean>
  /** Calls back with the user's id whenever a sync job has ended. Resolves once no later end is missed. */
  listen: (onEnd: (userId: string) => void) => Promise<() => void>
  /** Work that the sign-in doesn't wait for, but closing does. */
  inBackground: (work: Promise<unknown>) => void
}

/** What tokens of a user are sealed for: its identity. */
export function tokenBinding(tenantId: string, objectId: string): string {
  return `${tenantId}/${objectId}`
}

export function createLoginSucceeded(parts: LoginParts): LoginSucceeded {
  const { db, enqueue, inBackground } = parts
  return async (user, { waitUpToMs = 0 } = {}) => {
    const event = await sealEvent(parts, parseUser(user))
    const { labelled, ...stored } = await insertLoginEvent(db, event).catch((error: unknown) => {
      if (error instanceof IsService) throw new InvalidLoginEvent([notOfPerson])
      throw databaseFailure(error)
    })
    if (!labelled) inBackground(updateUserLabels(db, event))
    if (!parts.syncs) return { eventId: event.eventId, outcome: 'off' }
    const run = await (waitUpToMs > 0
      ? runWithin(parts, stored, waitUpToMs)
      : enqueue(stored).then(() => undefined))
    return run
      ? { eventId: event.eventId, outcome: run.outcome, runId: run.id }
      : { eventId: event.eventId, outcome: 'pending' }
  }
}

const notOfPerson = {
  field: 'objectId',
  message:
    'must be that of a person: a service has exchanged a token with it here, and nobody signs in as one',
}

/** Names the fields and never their values, one of which is a token. */
function parseUser(user: SignedInUser): z.output<typeof signedInUser> {
  const parsed = signedInUser.safeParse(user)
  if (parsed.success) return parsed.data
  const problems = parsed.error.issues.map(({ path, code }) => ({
    field: path.join('.') || 'the event',
    message: `(${code})`,
  }))
  throw new InvalidLoginEvent(problems)
}

async function sealEvent(
  { vault, source, syncs }: LoginParts,
  user: z.output<typeof signedInUser>,
): Promise<NewLoginEvent> {
  const { accessToken, refreshToken, expiresAt, scopes, audience = 'graph' } = user.tokens
  const binding = tokenBinding(user.tenantId, user.objectId)
  const sealed = await vault.seal(
    { accessToken, ...(refreshToken === undefined ? {} : { refreshToken }) },
    binding,
  )
  return {
    eventId: randomUUID(),
    source,
    tenantId: user.tenantId,
    objectId: user.objectId,
    userPrincipalName: user.userPrincipalName ?? null,
    displayName: user.displayName ?? null,
    mail: user.mail ?? null,
    sealed: sealed.text,
    keyId: sealed.keyId,
    expiresAt,
    scopes,
    audience,
    settled: !syncs,
  }
}

/** The longest a timer of Node's can be set to. */
const maxWaitMs = 2 ** 31 - 1

/** Milliseconds a sign-in spends on starting to listen before it enqueues all the same. */
const listenWithinMs = 1000

/** Milliseconds after which it looks without being told: BullMQ's events may skip one on the Postgres backend. */
const lookEveryMs = 500

/**
 * The first run of the user that began after the event, or undefined when time is up. The queue's events only say when
 * to look: the run row in Postgres is the truth, so a merged or replayed job is found as well.
 */
async function runWithin(parts: LoginParts, event: StoredLoginEvent, ms: number) {
  const timeUp = AbortSignal.timeout(Math.min(Math.ceil(ms), maxWaitMs))
  let look = Promise.withResolvers<void>()
  timeUp.addEventListener('abort', () => look.resolve(), { once: true })
  const listening = parts.listen((userId) => {
    if (userId === event.userId) look.resolve()
  })
  await within(Math.min(ms, listenWithinMs), listening)
  const taken = await parts.enqueue(event)
  try {
    for (;;) {
      const run = await findRunSince(parts.db, event.userId, event.receivedAt)
      const ended = run?.retried ? undefined : run
      // A queue that didn't take the event gets it later from a relay: nothing that is worth waiting for.
      if (ended || !taken || timeUp.aborted) return ended
      await within(lookEveryMs, look.promise)
      look = Promise.withResolvers()
    }
  } finally {
    listening.then((stop) => stop()).catch(() => undefined)
  }
}
