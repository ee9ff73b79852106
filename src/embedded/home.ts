import { accessSync, constants, mkdirSync, statSync } from 'node:fs'
import path from 'node:path'
import { ConfigInvalid } from '../errors.ts'

/**
 * Makes the folder that `start` keeps things in, parents included, or finds that it is there and can be written.
 * @throws {ConfigInvalid} naming `--data`, where it can't be used.
 */
export function openHome(home: string): void {
  try {
    makeFolder(home)
    accessSync(home, constants.R_OK | constants.W_OK | constants.X_OK)
  } catch (error) {
    const message = `${home} can't be used (${codeOf(error)}): give a folder that can be made and written`
    throw new ConfigInvalid([{ setting: '--data', message }])
  }
}

/** A step at a time: Node's own recursive way never returns below a folder that takes none, such as `/proc`. */
function makeFolder(folder: string): void {
  const found = statSync(folder, { throwIfNoEntry: false })
  if (found?.isDirectory()) return
  const parent = path.dirname(folder)
  if (!found && parent !== folder) makeFolder(parent)
  try {
    mkdirSync(folder)
  } catch (error) {
    // Another process may have made it meanwhile.
    if (!statSync(folder, { throwIfNoEntry: false })?.isDirectory()) throw error
  }
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : 'unknown'
}
