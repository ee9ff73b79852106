import type { Database } from './client.ts'

const connectionCode =
  /^(CONNECT_TIMEOUT|CONNECTION_\w+|ECONN(REFUSED|RESET|ABORTED)|E(TIMEDOUT|PIPE|HOSTUNREACH|NETUNREACH|NOTFOUND)|EAI_AGAIN|08\w{3}|53\w{3}|57P0[1-5])$/

/** Whether PostgreSQL answers within two seconds. */
export async function databaseAnswers(db: Database): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined
  const tooLate = new Promise<false>((resolve) => {
    timer = setTimeout(resolve, 2000, false)
  })
  const answer = db.$client`select 1`.then(
    () => true,
    () => false,
  )
  try {
    return await Promise.race([answer, tooLate])
  } finally {
    clearTimeout(timer)
  }
}

/**
 * Whether an error, or what caused it, means that the database can't be reached now, so that trying later helps: codes
 * of Node's sockets, of postgres.js, and SQLSTATE classes 08 (connection), 53 (resources) and 57P (shutdown).
 */
export function isUnreachable(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  if ('code' in error && typeof error.code === 'string' && connectionCode.test(error.code)) return true
  return isUnreachable(error.cause)
}
