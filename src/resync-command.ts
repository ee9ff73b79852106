import { setTimeout as delay } from 'node:timers/promises'
import { findPeople } from '../db/resync-people.ts'
import { cancelResync, countDue, findResync, type ResyncMode, type StoredResync } from '../db/resyncs.ts'
import { listShownResyncs } from '../db/resync-lists.ts'
import { findRunSince } from '../db/sync-runs.ts'
import { databaseNow } from '../db/wave.ts'
import { loadConfig, type Config } from './config.ts'
import { openContext, type Context } from './context.ts'
import { ConfigInvalid, SyncError } from './errors.ts'
import { maxUsersAsked, unitsOfBatch } from './graph/batch-memberships.ts'
import { unitsOfRead } from './graph/throttle.ts'
import { createLog } from './log.ts'
import { createResyncProgress } from './progress.ts'
import { createEnqueue } from './queue/enqueue.ts'
import { beginResync, secondsLeft } from './resync.ts'
import { syncsGroups, type SourceConfig } from './source-config.ts'
import { within } from './within.ts'
import { unlessAborted } from './unless-aborted.ts'

export type ResyncCommandOptions = {
  source?: string
  mode?: ResyncMode
  user?: string
  dryRun?: true
  wait?: true
  cancel?: string
  list?: true
  json?: true
}

const print = (line: string) => void process.stdout.write(`${line}\n`)

/** `resync`: begins one, or joins the one that goes on. Exit code 1 where it ended otherwise than `done`. */
export async function runResync(options: ResyncCommandOptions, signal: AbortSignal): Promise<void> {
  const config = loadConfig()
  const context = await openContext(config, createLog(config.logLevel), { withoutQueue: 'goOn', signal })
  try {
    await unlessAborted(signal, perform(context, options, signal))
  } finally {
    await context.close()
  }
}

async function perform(context: Context, options: ResyncCommandOptions, signal: AbortSignal): Promise<void> {
  if (options.json && !options.list)
    throw new ConfigInvalid([{ setting: '--json', message: 'goes with --list' }])
  if (options.list) return await tellResyncs(context, options)
  if (options.cancel !== undefined) return await cancel(context, options.cancel)
  const source = chosenSource(context.config, options.source)
  if (options.mode === 'delta' && !source.resync.delta)
    throw new ConfigInvalid([
      { setting: '--mode', message: `delta needs RESYNC_READ=app, RESYNC_DELTA and a single tenant` },
    ])
  if (options.mode === 'delta' && (options.user !== undefined || options.dryRun))
    throw new ConfigInvalid([
      {
        setting: '--mode',
        message: 'must be full here: whom a change concerns is not known before it is asked',
      },
    ])
  if (options.user !== undefined) return await syncOne(context, source, options.user, signal)
  if (options.dryRun) return await tellDue(context, source)
  const { mode = 'full' } = options
  const { resync, joined } = await beginResync(context.db, source, { mode, cause: 'manual' })
  const { id, due } = resync
  const what = mode === 'full' ? `${due} people.` : 'Graph is asked what has changed.'
  print(
    joined
      ? `A resync of ${source.slug} goes on already: ${id}`
      : `Resync ${id} of ${source.slug} begins: ${what}`,
  )
  if (mode === 'delta') await askForChanges(context, source.slug)
  if (!options.wait)
    return print(`To watch it: entra-group-sync resync --list. To end it: resync --cancel ${id}`)
  const ended = await follow(context, resync, signal).catch((error: unknown) => {
    if (signal.aborted)
      process.stderr.write(`The resync goes on. To end it: entra-group-sync resync --cancel ${id}\n`)
    throw error
  })
  tellEnd(ended)
  if (ended.state !== 'done') process.exitCode = 1
}

/** By the job that a schedule makes: it joins the resync there is. */
async function askForChanges({ producer }: Context, source: string): Promise<void> {
  const asked = producer.openResyncQueue().add('start-resync', { source, mode: 'delta' })
  let refused = true
  const taken = asked.then(() => (refused = false)).catch(() => undefined)
  if (!(await within(askWithinMs, taken)) || refused)
    throw new SyncError('queue_unavailable', 'the queue took no job: the next scheduled one asks for changes')
}

/** Milliseconds. */
const askWithinMs = 5000

function chosenSource({ sources }: Config, told: string | undefined): SourceConfig {
  const usable = sources.filter(syncsGroups)
  const slugs = usable.map(({ slug }) => slug)
  const [only, ...others] = usable
  const chosen =
    told === undefined ? (others.length === 0 ? only : undefined) : usable.find(({ slug }) => slug === told)
  if (chosen) return chosen
  const which = slugs.length === 0 ? 'no source has group sync' : `must be one of ${slugs.join(', ')}`
  throw new ConfigInvalid([{ setting: '--source', message: which }])
}

async function cancel({ db }: Context, id: string): Promise<void> {
  const known = uuid.test(id) && (await findResync(db, id))
  if (!known)
    throw new ConfigInvalid([
      { setting: '--cancel', message: 'must be the id of a resync; --list shows them' },
    ])
  if (await cancelResync(db, id)) return print(`Resync ${id} is cancelled. Runs that have begun still end.`)
  print(`Resync ${id} had ended already: ${known.state}.`)
  process.exitCode = 1
}

const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i

/** One person, whatever the state of the resync: an ordinary job with the person's own tokens, waited for. */
async function syncOne(
  { db, producer }: Context,
  { slug, resync }: SourceConfig,
  who: string,
  signal: AbortSignal,
): Promise<void> {
  const [person, ...others] = await findPeople(db, slug, who)
  if (!person) throw new ConfigInvalid([{ setting: '--user', message: `nobody of ${slug} is called ${who}` }])
  if (others.length > 0)
    throw new ConfigInvalid([{ setting: '--user', message: `several are called ${who}: give an object id` }])
  const since = await databaseNow(db)
  const { userId, tenantId } = person
  if (!(await createEnqueue(producer)([{ userId, tenantId, source: slug, cause: 'manual' }])))
    throw new SyncError('queue_unavailable', 'the queue took no job: nothing was begun')
  const warn = warningOfNoWorker()
  for (;;) {
    const run = await findRunSince(db, userId, since)
    if (!run) warn()
    if (run && !run.retried) {
      print(`Run ${run.id}: ${run.outcome}, ${run.added} added, ${run.removed} removed, ${run.held} held.`)
      if (run.errorCode !== null) print(`  ${run.errorCode}`)
      if (run.outcome === 'needs_login' && resync.read === 'app')
        print("  It reads with the person's own tokens. A resync of everybody reads with those of the app.")
      if (run.outcome !== 'applied' && run.outcome !== 'unchanged') process.exitCode = 1
      return
    }
    await delay(lookEvery, undefined, { signal })
  }
}

/** Milliseconds between two looks. */
const lookEvery = 500

async function tellDue({ db }: Context, { slug, unitsPer10s, resync }: SourceConfig): Promise<void> {
  const { due, needsLogin } = await countDue(db, slug)
  // The app needs nobody to sign in, and reads many at once.
  const isOfApp = resync.read === 'app'
  const units = isOfApp
    ? (due / maxUsersAsked) * unitsOfBatch(maxUsersAsked)
    : (due - needsLogin) * unitsOfRead
  const minutes = Math.ceil(units / (unitsPer10s / 10) / 60)
  const first = isOfApp ? '' : `, of whom ${needsLogin} have to sign in first`
  print(`${due} people of ${slug} would be taken${first}.`)
  print(
    `At ${unitsPer10s} resource units in ten seconds it takes about ${minutes} minutes, if nobody signs in meanwhile.`,
  )
}

/** Says once that nothing happens, some time after it was made. */
function warningOfNoWorker(): () => void {
  let isDueAt = Date.now() + 15_000
  return () => {
    if (Date.now() < isDueAt) return
    isDueAt = Number.POSITIVE_INFINITY
    process.stderr.write('No worker has taken it up yet: is one running?\n')
  }
}

/** Until it has ended. Ctrl-C ends the waiting only. */
async function follow(
  { db }: Context,
  { id, due }: StoredResync,
  signal: AbortSignal,
): Promise<StoredResync> {
  const progress = createResyncProgress(due)
  const warn = warningOfNoWorker()
  let told: string | null = null
  try {
    for (;;) {
      const resync = await findResync(db, id)
      if (!resync) throw new SyncError('internal', 'the resync is gone')
      const { errorCode } = resync
      if (errorCode !== null && errorCode !== told) process.stderr.write(`${notGettingOn(errorCode)}\n`)
      told = errorCode
      progress.update(resync.done, secondsLeft(resync, Date.now()))
      if (resync.state !== 'running') return resync
      if (resync.tendedAt === null) warn()
      await delay(lookEvery, undefined, { signal })
    }
  } finally {
    progress.stop()
  }
}

/** Each step tries again, so this is no end; what is wrong in full is where it was met. */
function notGettingOn(errorCode: string): string {
  return `It does not get on: ${errorCode}. The log of the worker says what is wrong.`
}

function tellEnd({
  id,
  state,
  done,
  changed,
  held,
  failed,
  denied,
  needsLogin,
  requests,
  resourceUnits,
}: StoredResync): void {
  print(`Resync ${id}: ${state}.`)
  print(
    `  ${done} people, ${changed} changed, ${held} held, ${failed} failed, ${denied} denied, ${needsLogin} must sign in.`,
  )
  print(`  ${requests} requests, ${resourceUnits} resource units.`)
  if (state === 'held')
    print(
      `  Its removals were too many to be carried out unseen. If Entra is right: entra-group-sync approve ${id}`,
    )
}

async function tellResyncs({ db }: Context, { json }: ResyncCommandOptions): Promise<void> {
  const resyncs = await listShownResyncs(db, 20)
  if (json) return print(JSON.stringify(resyncs))
  if (resyncs.length === 0) return print('There was none yet.')
  for (const resync of resyncs) {
    const { id, source, mode, cause, state, startedAt, due, done, changed, held, failed, needsLogin } = resync
    const left = secondsLeft(resync, Date.now())
    const eta = left === undefined ? '' : `, about ${Math.ceil(left / 60)} minutes left`
    print(`${id}  ${source}  ${mode}  ${state}  ${cause}  ${startedAt.slice(0, 16)}Z${eta}`)
    print(
      `  ${done}/${due} done, ${changed} changed, ${held} held, ${failed} failed, ${needsLogin} must sign in`,
    )
    if (state === 'running' && resync.errorCode !== null) print(`  ${notGettingOn(resync.errorCode)}`)
  }
}
