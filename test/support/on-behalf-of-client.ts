import { OnBehalfOfCredential } from '@azure/identity'

/** A process of its own, since NODE_EXTRA_CA_CERTS is read when a process starts. Prints one line of JSON. */
const {
  AUTHORITY = '',
  TENANT = '',
  CLIENT_ID = '',
  CLIENT_SECRET = '',
  ASSERTION = '',
  SCOPE = '',
} = process.env
// In a variable: the options' type lacks disableInstanceDiscovery, which the credential reads all the same.
const options = {
  authorityHost: AUTHORITY,
  tenantId: TENANT,
  clientId: CLIENT_ID,
  clientSecret: CLIENT_SECRET,
  userAssertionToken: ASSERTION,
  disableInstanceDiscovery: true,
}
const credential = new OnBehalfOfCredential(options)
const first = await credential.getToken(SCOPE)
const second = await credential.getToken(SCOPE)
process.stdout.write(`${JSON.stringify({ token: first.token, same: first.token === second.token })}\n`)
