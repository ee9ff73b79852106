/** As in `engines` of package.json, which a test holds it to. */
export const minimumNode = '22.18'

/** What to tell somebody whose Node is too old for this, such as `20.11.1`; undefined where it is new enough. */
export function nodeProblem(running: string): string | undefined {
  const [major = 0, minor = 0] = running.split('.').map(Number)
  const [minimumMajor = 0, minimumMinor = 0] = minimumNode.split('.').map(Number)
  if (major > minimumMajor || (major === minimumMajor && minor >= minimumMinor)) return undefined
  return `entra-group-sync needs Node ${minimumNode} or newer and was started with ${running}: install a newer Node, or put it first on the PATH`
}
