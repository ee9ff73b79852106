import { createApp } from './app.ts'
import { openGroups } from './groups.ts'
import { openReporter } from './report.ts'
import { readSettings } from './settings.ts'
import { createSignIn } from './sign-in.ts'

const settings = readSettings(process.env)
const reporter = await openReporter(settings)
const groups = openGroups(settings.groupSync.databaseUrl)
const app = createApp({ settings, signIn: createSignIn(settings), reporter, groups })

const server = app.listen(settings.port, (error) => {
  if (error) throw error
  console.log(`Sign in at ${settings.appUrl}`)
})

async function stop(): Promise<void> {
  await new Promise((resolve) => {
    server.close(resolve)
    server.closeIdleConnections()
  })
  await Promise.all([reporter.close(), groups.close()])
}

for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => void stop())
