import { insertInvitation, listNamed, setDisabled, type PersonName } from '../db/admissions.ts'
import { closeDatabase, cutDatabase, openDatabase, type Database } from '../db/client.ts'
import { loadConfig, readEnvironment, type Config } from './config.ts'
import { requireTables } from './context.ts'
import { databaseFailure, startUpFailure } from './database-failure.ts'
import { ConfigInvalid } from './errors.ts'
import { namesPeople } from './login/admission.ts'
import { readSourceStatus, type SourceStatus } from './source-status.ts'
import { unlessAborted } from './unless-aborted.ts'

const guid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i

const print = (line: string) => void process.stdout.write(`${line}\n`)

/** `sources`: how each one does; exit code 1 where somebody should do something. */
export async function runSources({ json }: { json?: true }, signal: AbortSignal): Promise<void> {
  const config = loadConfig()
  const sources = await withDatabase(config, signal, async (db) => await readSourceStatus(db, config))
  if (json) print(JSON.stringify(sources))
  else for (const source of sources) tellSource(source)
  if (sources.some(({ advice }) => advice.length > 0)) process.exitCode = 1
}

function tellSource({
  slug,
  name,
  tenant,
  enabled,
  groupSync,
  credentials,
  tenants,
  advice,
}: SourceStatus): void {
  const people = tenants.reduce((sum, each) => sum + each.people, 0)
  print(`${slug}  ${name}`)
  print(`  tenant       ${tenant}`)
  print(`  sign-in      ${enabled ? 'enabled' : 'disabled'}`)
  print(`  group sync   ${groupSync ? 'on' : 'off: people sign in, and their groups are left alone'}`)
  print(`  people       ${people} in ${tenants.length} ${tenants.length === 1 ? 'tenant' : 'tenants'}`)
  for (const { credential, kind, inUse, expiresAt, refusedWith } of credentials) {
    const facts = [
      kind,
      inUse ? 'in use' : 'not in use',
      expiresAt === null ? 'end not known' : `ends ${expiresAt.slice(0, 10)}`,
      ...(refusedWith === null ? [] : [`refused with ${refusedWith}`]),
    ]
    print(`  credential   ${credential}: ${facts.join(', ')}`)
  }
  for (const line of advice) print(`  ! ${line}`)
}

/** `invite`: for a source that takes only the invited. */
export async function runInvite(
  who: string,
  options: { source?: string },
  signal: AbortSignal,
): Promise<void> {
  const config = loadConfig()
  const slug = chosenSlug(config, options.source)
  const person = personOf(who)
  const source = config.sources.find((each) => each.slug === slug)
  if ('userPrincipalName' in person && source && !namesPeople(source)) {
    const message = `must be an object id: ${slug} takes people of several tenants, and each gives out names of its own`
    throw new ConfigInvalid([{ setting: '<person>', message }])
  }
  const made = await withDatabase(config, signal, async (db) => await insertInvitation(db, slug, person))
  print(made ? `${who} may sign in through ${slug}.` : `${who} was invited to ${slug} already.`)
}

/** `people disable` and `people enable`: exit code 1 where nobody is of that name, or several are. */
export async function runDisable(
  who: string,
  { disabled, tenant }: { disabled: boolean; tenant?: string },
  signal: AbortSignal,
): Promise<void> {
  const config = loadConfig(readEnvironment(), { databaseOnly: true })
  const person = personOf(who)
  const tenantId = tenant?.trim().toLowerCase()
  if (tenantId !== undefined && !guid.test(tenantId))
    throw new ConfigInvalid([{ setting: '--tenant', message: 'must be the id of a tenant (a GUID)' }])
  const { named, changed } = await withDatabase(config, signal, async (db) => {
    const found = await listNamed(db, person, tenantId)
    const [only, ...others] = found
    if (!only || others.length > 0) return { named: found, changed: false }
    return { named: found, changed: await setDisabled(db, only.userId, disabled) }
  })
  const [only, ...others] = named
  if (only && others.length === 0) {
    const what = disabled ? 'disabled, and signed out everywhere' : 'enabled'
    const told = `${only.userPrincipalName ?? who} (${only.objectId}, tenant ${only.tenantId})`
    if (changed) return print(`${told} is ${what}.`)
    return print(disabled ? `${told} was disabled already.` : `${told} was not disabled here.`)
  }
  process.exitCode = 1
  if (!only) return print(`Nobody to change: ${who}. A person is known from their first sign-in on.`)
  print(`Nobody is changed: ${named.length} people are called ${who}. Name one by object id, with --tenant:`)
  for (const { objectId, tenantId: of } of named) print(`  ${objectId} --tenant ${of}`)
}

/** An object id, or else a user principal name. */
function personOf(who: string): PersonName {
  const text = who.trim()
  if (guid.test(text)) return { objectId: text.toLowerCase() }
  if (/^[^\s@]+@[^\s@]+$/.test(text)) return { userPrincipalName: text }
  const message = 'must be an object id (a GUID) or a user principal name (ada@contoso.example)'
  throw new ConfigInvalid([{ setting: '<person>', message }])
}

function chosenSlug({ sources }: Config, told: string | undefined): string {
  const slugs = sources.map(({ slug }) => slug)
  const [only, ...others] = slugs
  if (told === undefined && only !== undefined && others.length === 0) return only
  if (told !== undefined && slugs.includes(told)) return told
  throw new ConfigInvalid([{ setting: '--source', message: `must be one of ${slugs.join(', ')}` }])
}

async function withDatabase<Result>(
  config: Config,
  signal: AbortSignal,
  work: (db: Database) => Promise<Result>,
): Promise<Result> {
  const db = openDatabase(config.databaseUrl, { max: 2, prepare: config.databasePrepare })
  try {
    await unlessAborted(signal, requireTables(db))
    return await unlessAborted(signal, work(db))
  } catch (error) {
    signal.throwIfAborted()
    throw databaseFailure(startUpFailure(error))
  } finally {
    await (signal.aborted ? cutDatabase(db) : closeDatabase(db))
  }
}
