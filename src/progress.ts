import { SingleBar } from 'cli-progress'

export type Progress = {
  update: (done: { signedIn: number; synced: number }) => void
  stop: () => void
}

/** A bar on a terminal's standard error; elsewhere a line at every quarter. */
export function createProgress(total: number, stream: NodeJS.WriteStream = process.stderr): Progress {
  if (!stream.isTTY) return quarterLines(total, stream)
  const bar = new SingleBar({
    stream,
    format: ' {bar} {value}/{total} synced, {signedIn} signed in | {duration_formatted}',
    barCompleteChar: '█',
    barIncompleteChar: '░',
    hideCursor: true,
  })
  bar.start(total, 0, { signedIn: 0 })
  return { update: ({ signedIn, synced }) => bar.update(synced, { signedIn }), stop: () => bar.stop() }
}

function quarterLines(total: number, stream: NodeJS.WritableStream): Progress {
  let told = 0
  return {
    update: ({ signedIn, synced }) => {
      const quarter = total === 0 ? 4 : Math.floor((synced / total) * 4)
      if (quarter <= told) return
      told = quarter
      stream.write(`${synced}/${total} synced, ${signedIn} signed in\n`)
    },
    stop: () => undefined,
  }
}

/** The same for people of a resync, with the seconds it still takes, where that is known. */
export function createResyncProgress(
  total: number,
  stream: NodeJS.WriteStream = process.stderr,
): { update: (done: number, secondsLeft: number | undefined) => void; stop: () => void } {
  const left = (seconds: number | undefined) =>
    seconds === undefined
      ? ''
      : `, about ${seconds < 120 ? `${seconds} s` : `${Math.ceil(seconds / 60)} min`} left`
  if (!stream.isTTY) {
    let told = 0
    return {
      update: (done, seconds) => {
        const quarter = total === 0 ? 0 : Math.floor((done / total) * 4)
        if (quarter <= told) return
        told = quarter
        stream.write(`${done}/${total} done${left(seconds)}\n`)
      },
      stop: () => undefined,
    }
  }
  const bar = new SingleBar({
    stream,
    format: ' {bar} {value}/{total} done{left}',
    barCompleteChar: '█',
    barIncompleteChar: '░',
    hideCursor: true,
  })
  bar.start(total, 0, { left: '' })
  return { update: (done, seconds) => bar.update(done, { left: left(seconds) }), stop: () => bar.stop() }
}
