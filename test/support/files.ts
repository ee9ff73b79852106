import { watch } from 'node:fs'

/** Resolves once something happens to the file of that name in the folder, its making included. */
export async function fileIn(folder: string, name: string): Promise<void> {
  await new Promise<void>((resolve) => {
    const watcher = watch(folder, (_event, file) => {
      if (file !== name) return
      watcher.close()
      resolve()
    })
  })
}
