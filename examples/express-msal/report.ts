import { setTimeout } from 'node:timers/promises'
// An application writes 'entra-group-sync' in place of the path.
import { openLoginProducer } from '../../src/index.ts'
import type { Settings } from './settings.ts'
import type { SignedIn } from './sign-in.ts'

export type Reporter = {
  /** Never rejects, and takes three seconds at most: whether it worked or not, the person is signed in. */
  report: (person: SignedIn) => Promise<void>
  close: () => Promise<void>
}

/** A short wait lets the first page show the groups already. */
const waitForRunMs = 2000
/** A database that neither answers nor refuses must not hold up anybody. */
const waitForReportMs = 3000

/** All that this application has to do with entra-group-sync when somebody signs in. Opened once in a process. */
export async function openReporter({ groupSync }: Settings): Promise<Reporter> {
  const logins = await openLoginProducer({
    ...groupSync,
    onQueueFailure: () => console.warn('the queue is down; a worker will find the sign-in in Postgres'),
  })
  const report = async ({ tenantId, objectId, name, userPrincipalName, tokens }: SignedIn) => {
    const { refreshToken, ...others } = tokens
    await logins.loginSucceeded(
      {
        tenantId,
        objectId,
        displayName: name,
        ...(userPrincipalName === undefined ? {} : { userPrincipalName }),
        tokens: { ...others, ...(refreshToken === undefined ? {} : { refreshToken }) },
      },
      { waitUpToMs: waitForRunMs },
    )
  }
  return {
    report: async (person) => {
      const reported = report(person).catch((error: unknown) => {
        console.error(
          'a sign-in was not reported; the groups stay as they are until the next one:',
          codeOf(error),
        )
      })
      await Promise.race([reported, setTimeout(waitForReportMs, undefined, { ref: false })])
    },
    close: logins.close,
  }
}

/** `invalid_login_event` or `database_failed`, say. */
function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : 'unknown'
}
