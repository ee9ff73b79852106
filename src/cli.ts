#!/usr/bin/env node
import path from 'node:path'
import { nodeProblem } from './node-version.ts'
import { hearSignals, Stopped } from './stopping.ts'

const stopping = hearSignals()
// Whoever reads what is printed may have read enough, as `head` has.
process.stdout.on('error', (error) => {
  if (!('code' in error && error.code === 'EPIPE')) throw error
})
const problem = nodeProblem(process.versions.node)
if (problem !== undefined) {
  process.stderr.write(`${problem}\n`)
  process.exit(1)
}

// Only now: what is loaded from here on may not even load on an older Node.
const { Command, InvalidArgumentError, Option } = await import('commander')
const { settingsFileReader } = await import('./settings-file.ts')

/** Loaded when a command runs, so that --help needn't wait for everything. */
const commands = async () => await import('./commands.ts')
const keyCommands = async () => await import('./key-commands.ts')
const peopleCommands = async () => await import('./people-commands.ts')

/** A whole number for an option. */
function wholeNumber(min: number, max: number) {
  return (text: string): number => {
    const value = Number(text)
    if (!Number.isInteger(value) || value < min || value > max) {
      throw new InvalidArgumentError(`must be a whole number from ${min} to ${max}.`)
    }
    return value
  }
}

async function fail(error: unknown): Promise<void> {
  const { describeFailure } = await import('./command-failure.ts')
  const { readEnvironment } = await import('./config.ts')
  const detailed = ['debug', 'trace'].includes(readEnvironment()['LOG_LEVEL'] ?? '')
  process.stderr.write(`${describeFailure(error, detailed)}\n`)
  process.exitCode = 1
}

const readSettings = settingsFileReader(path.resolve('.env'))

const program = new Command('entra-group-sync')
  .description("Keeps an application's Postgres in step with the Entra ID groups of the people who sign in.")
  .showHelpAfterError('(--help shows every option)')
  .addHelpText('after', '\nSettings come from the environment; the README lists them all.')

program
  .command('start')
  .description(
    'gateway and workers in one process; whatever is not configured is brought along, a simulated tenant included',
  )
  .option(
    '--exit',
    'end after everybody in the simulated tenant has signed in; exit code 0 only if every run succeeded',
  )
  .option('--users <n>', 'size of the simulated tenant', wholeNumber(1, 100_000), 250)
  .option('--json', 'print the summary as one JSON object on the last line')
  .option('--data <folder>', 'where the embedded database is kept', '.data')
  .action(async (options) => await (await commands()).runStart(options, stopping))
program
  .command('gateway')
  .description('sign-in, HTTP API and admin pages')
  .action(async () => await (await commands()).runGateway(stopping))
program
  .command('worker')
  .description('takes jobs from the queue')
  .action(async () => await (await import('./worker-command.ts')).runWorker(stopping, readSettings))
program
  .command('migrate')
  .description('brings the tables of the database, and of a queue in Postgres, to this version')
  .action(async () => await (await commands()).runMigrate(stopping))
program
  .command('approve')
  .description(
    'agrees to what a held run, or a held resync, held back, and has the people read again by a worker',
  )
  .argument('<run>', 'id of the run, from sync_runs or the log; or of the resync')
  .option('--wait <seconds>', 'how long to wait for the outcome', wholeNumber(0, 3600), 30)
  .action(async (run, options) => await (await commands()).runApprove(run, options, stopping))
program
  .command('resync')
  .description(
    'brings everybody of a source up to date now, or joins the resync that goes on; workers do the work',
  )
  .option('--source <slug>', 'which source; needed where there are several')
  .addOption(
    new Option(
      '--mode <mode>',
      'everybody, or only whom a change concerns; that needs the app’s own permissions',
    )
      .choices(['full', 'delta'])
      .default('full'),
  )
  .option(
    '--user <person>',
    'only this person, by object id or user principal name, and wait for the outcome',
  )
  .addOption(
    new Option(
      '--dry-run',
      'say how many it would be and how long it would take, and begin nothing',
    ).conflicts(['user', 'wait', 'cancel', 'list']),
  )
  .option('--wait', 'show progress until it has ended; exit code 1 unless it is done')
  .addOption(new Option('--cancel <id>', 'end one that goes on').conflicts(['user', 'wait', 'list']))
  .addOption(new Option('--list', 'show the latest, with what became of them').conflicts(['user', 'wait']))
  .option('--json', 'with --list: print them as JSON')
  .action(async (options) => await (await import('./resync-command.ts')).runResync(options, stopping))
const keys = program
  .command('keys')
  .description('the keys that seal stored tokens, and those that sign local ones')
keys
  .command('rotate')
  .description(
    'seals anew, with the first of TOKEN_ENCRYPTION_KEYS, every stored token and signing key that another key seals; exit code 1 if some do not open',
  )
  .option('--batch <n>', 'how many at once', wholeNumber(1, 10_000), 500)
  .action(async (options) => await (await keyCommands()).runRotateKeys(options, stopping))
keys
  .command('replace-signing')
  .description('makes the next key that signs local tokens, which it does by itself every thirty days')
  .option('--now', 'it signs at once, and all others are withdrawn: for a key that has leaked')
  .action(async (options) => await (await keyCommands()).runReplaceSigningKey(options, stopping))
program
  .command('sources')
  .description(
    'how each source does: credentials, group sync, consent; exit code 1 where somebody should do something',
  )
  .option('--json', 'print them as JSON')
  .action(async (options) => await (await peopleCommands()).runSources(options, stopping))
program
  .command('invite')
  .description('lets a person sign in through a source that takes only the invited')
  .argument('<person>', 'object id, or user principal name')
  .option('--source <slug>', 'which source; needed where there are several')
  .action(async (who, options) => await (await peopleCommands()).runInvite(who, options, stopping))
const people = program.command('people').description('who may sign in')
people
  .command('disable')
  .description('keeps a person out, whatever Entra says, and signs them out everywhere')
  .argument('<person>', 'object id, or user principal name')
  .option('--tenant <id>', 'which tenant; needed where people of several are called so')
  .action(
    async (who, options) =>
      await (await peopleCommands()).runDisable(who, { ...options, disabled: true }, stopping),
  )
people
  .command('enable')
  .description('takes that back')
  .argument('<person>', 'object id, or user principal name')
  .option('--tenant <id>', 'which tenant; needed where people of several are called so')
  .action(
    async (who, options) =>
      await (await peopleCommands()).runDisable(who, { ...options, disabled: false }, stopping),
  )
program
  .command('simulate')
  .description('a simulated Entra tenant with Microsoft Graph on loopback; prints the settings that use it')
  .option('--users <n>', 'size of the tenant', wholeNumber(0, 100_000), 250)
  .option('--seed <n>', 'the same number makes the same tenant', wholeNumber(0, 4_294_967_295), 1)
  .option('--entra-port <n>', 'port of the Entra endpoints, 0 for any', wholeNumber(0, 65_535), 0)
  .option('--graph-port <n>', 'port of Microsoft Graph, 0 for any', wholeNumber(0, 65_535), 0)
  .option('--ca <file>', 'answer over https too, and write the certificate to trust to this file')
  .action(async (options) => await (await commands()).runSimulate(options, stopping))

try {
  await readSettings()
  await program.parseAsync()
} catch (error) {
  if (error instanceof Stopped) process.exitCode = error.exitCode
  else await fail(error)
}
// Everything is closed by now. A connection that a dead server keeps half open must not keep the process.
setTimeout(() => process.exit(), 3000).unref()
