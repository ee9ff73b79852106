import { closeDatabase, cutDatabase, openDatabase, type Database } from '../db/client.ts'
import { countSealedOtherwise } from '../db/sealed-tokens.ts'
import { insertSigningKey, listSigningKeys, replaceSigningKeys } from '../db/signing-keys.ts'
import { loadConfig, readEnvironment, type Config } from './config.ts'
import { requireTables } from './context.ts'
import { databaseFailure, startUpFailure } from './database-failure.ts'
import { resealSigningKeys } from './issuer/reseal.ts'
import { newSigningKey } from './issuer/private-keys.ts'
import { keyRhythm, orderOf } from './issuer/key-order.ts'
import { rotateKeys } from './login/rotate-keys.ts'
import { createVault } from './login/vault.ts'
import { createSeal } from './sealing.ts'
import { unlessAborted } from './unless-aborted.ts'

const print = (line: string) => void process.stdout.write(`${line}\n`)

/** `keys rotate`: may be stopped and started again; exit code 1 where a key that is still needed is missing. */
export async function runRotateKeys({ batch }: { batch: number }, signal: AbortSignal): Promise<void> {
  await withDatabase(signal, async (db, { tokenKeys }) => {
    const vault = createVault(tokenKeys)
    const due = await unlessAborted(signal, countSealedOtherwise(db, vault.keyId))
    const onProgress = (seen: number) => void process.stderr.write(`${seen}/${Math.max(due, seen)} read\n`)
    const rotating = rotateKeys({ db, vault, batch, onProgress })
    const { resealed, overtaken, unreadable } = await unlessAborted(signal, rotating)
    print(`Sealed anew with ${vault.keyId}: ${resealed}.`)
    if (overtaken > 0) print(`Written by other processes meanwhile: ${overtaken}. Run this again.`)
    for (const [keyId, tokens] of unreadable) print(`Sealed with ${keyId} and not readable: ${tokens}.`)
    if (unreadable.size > 0) {
      print('Put the missing keys back into TOKEN_ENCRYPTION_KEYS and run this again, or leave it to')
      print('the next sign-in of those people.')
      process.exitCode = 1
    }
    const signing = await unlessAborted(signal, resealSigningKeys(db, createSeal(tokenKeys)))
    if (signing.resealed > 0) print(`Keys that sign local tokens, sealed anew: ${signing.resealed}.`)
    if (signing.unreadable.length > 0) {
      print(`Keys that sign local tokens, sealed with ${signing.unreadable.join(', ')} and not readable:`)
      print('another one is made when it is needed.')
      process.exitCode = 1
    }
  })
}

/** `keys replace-signing`: the next key, and with `now` none but that. */
export async function runReplaceSigningKey({ now }: { now?: true }, signal: AbortSignal): Promise<void> {
  await withDatabase(signal, async (db, { tokenKeys }) => {
    const key = await newSigningKey(createSeal(tokenKeys))
    if (now) {
      await unlessAborted(signal, replaceSigningKeys(db, key))
      print(`${key.kid} signs from now on. Gateways refuse within half a minute what others have signed;`)
      print(
        'applications that verify tokens by themselves do once they have read the key set anew, which they',
      )
      print('may put off for five minutes, or for longer by settings of their own.')
      return
    }
    const { newest } = orderOf(await unlessAborted(signal, listSigningKeys(db)))
    const added = await insertSigningKey(db, key, {
      after: newest?.kid,
      beginsInSeconds: newest ? keyRhythm.publishedBefore : 0,
      keepSeconds: keyRhythm.publishedAfter,
    })
    if (!added) {
      print(
        'Another process has made a key just now. Nothing was done; run this again if it is still wanted.',
      )
      process.exitCode = 1
    } else if (newest)
      print(`${key.kid} is published and signs in an hour; what others have signed stays good.`)
    else print(`${key.kid} signs from now on.`)
  })
}

async function withDatabase(
  signal: AbortSignal,
  work: (db: Database, config: Config) => Promise<void>,
): Promise<void> {
  const config = loadConfig(readEnvironment(), { tokenKeysOnly: true })
  const db = openDatabase(config.databaseUrl, { max: 2, prepare: config.databasePrepare })
  try {
    await unlessAborted(signal, requireTables(db))
    await work(db, config)
  } catch (error) {
    signal.throwIfAborted()
    throw databaseFailure(startUpFailure(error))
  } finally {
    await (signal.aborted ? cutDatabase(db) : closeDatabase(db))
  }
}
