import { startSimulator } from '../src/simulator/index.ts'
import { simulatorSettings } from '../src/start.ts'

/**
 * A simulated tenant in a process of its own, so that its work isn't counted as ours: people, each in so many of the
 * shared groups. Prints one JSON line with the settings and everybody's tokens, and ends with its standard input.
 */
const [people = 0, groupsEach = 0, groups = 0] = process.argv.slice(2).map(Number)
const simulator = await startSimulator({ users: 0, groups: 0, https: false, keep: 0 })
const { tenant } = simulator
const shared = Array.from({ length: groups }, (_, at) =>
  tenant.addGroup({ displayName: `Group ${at}`, kind: 'security' }),
)
const signedIn = []
for (let person = 0; person < people; person += 1) {
  const user = tenant.addUser({ displayName: `Person ${person}` })
  for (let at = 0; at < groupsEach; at += 1) {
    const group = shared[(person * 7 + at) % groups]
    if (group) tenant.addMember(group.id, user.id)
  }
  const tokens = await simulator.signIn(user.id)
  signedIn.push({
    tenantId: tenant.id,
    objectId: user.id,
    tokens: {
      accessToken: tokens.access_token,
      expiresAt: Math.floor(Date.now() / 1000) + tokens.expires_in,
      scopes: tokens.scope.split(' '),
    },
  })
}
process.stdout.write(`${JSON.stringify({ settings: simulatorSettings(simulator), people: signedIn })}\n`)
for await (const _ of process.stdin);
await simulator.close()
