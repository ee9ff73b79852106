import { createInterface } from 'node:readline'
import { defaultApp, startSimulator } from '../src/simulator/index.ts'
import { simulatorSettings } from '../src/start.ts'

/**
 * A simulated tenant of many people in a process of its own, each in so many of the shared groups, and some more who sign
 * in. Prints one JSON line with the settings, whose ids these are and the tokens of those who sign in; then one for each
 * line of its standard input, with which it ends:
 * - `limit <units>`: so many units in ten seconds, 0 any number; all that is counted begins anew.
 * - `counts`: what was answered, and who was read how often.
 */
const [people = 0, groupsEach = 0, groups = 0, signers = 0] = process.argv.slice(2).map(Number)
const simulator = await startSimulator({ users: 0, groups: 0, keep: people * 10 })
const { tenant, throttle, requests, https } = simulator
const shared = Array.from({ length: groups }, (_, at) =>
  tenant.addGroup({ displayName: `Group ${at}`, kind: 'security' }),
)
const addPerson = (person: number) => {
  const { id } = tenant.addUser({ displayName: `Person ${person}` })
  for (let at = 0; at < groupsEach; at += 1) {
    const group = shared[(person * 7 + at) % groups]
    if (group) tenant.addMember(group.id, id)
  }
  return id
}
const objectIds = Array.from({ length: people }, (_, person) => addPerson(person))
const signedIn = []
for (let signer = 0; signer < signers; signer += 1) {
  const objectId = addPerson(people + signer)
  const tokens = await simulator.signIn(objectId)
  signedIn.push({
    tenantId: tenant.id,
    objectId,
    tokens: {
      accessToken: tokens.access_token,
      expiresAt: Math.floor(Date.now() / 1000) + tokens.expires_in,
      scopes: tokens.scope.split(' '),
    },
  })
}
if (!https) throw new Error('the simulator has no https')
say({
  settings: {
    ...simulatorSettings(simulator),
    // Tokens of the app itself are given over https only.
    ENTRA_AUTHORITY_HOST: https.entraUrl,
    GRAPH_BASE_URL: https.graphUrl,
  },
  caCertificate: https.caCertificate,
  tenantId: tenant.id,
  objectIds,
  signers: signedIn,
  plain: { graphUrl: simulator.graphUrl, entraUrl: simulator.entraUrl, secret: defaultApp.clientSecret },
})

for await (const line of createInterface({ input: process.stdin })) {
  const [command, units] = line.split(' ')
  if (command === 'limit') {
    throttle.set({ size: Number(units) || 'unlimited' })
    throttle.reset()
    requests.clear()
    say({})
  } else {
    say({ ...throttle.statistics(), reads: readsByPerson(), requests: sentRequests() })
  }
}
await simulator.close()

function say(told: object): void {
  process.stdout.write(`${JSON.stringify(told)}\n`)
}

function readsByPerson(): Record<string, number> {
  const reads: Record<string, number> = {}
  for (const { path } of requests.all({ path: /\/users\/[^/]+\/transitiveMemberOf/ })) {
    const person = path.split('/')[3] ?? ''
    reads[person] = (reads[person] ?? 0) + 1
  }
  return reads
}

/** Those of a batch go as one. */
function sentRequests(): number {
  return requests.all({ origin: 'graph' }).filter(({ via }) => via === undefined).length
}
