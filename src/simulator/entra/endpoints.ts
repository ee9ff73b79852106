import type { HttpAnswer, HttpRequest } from '../http.ts'
import { AadstsError, tokenErrorAnswer } from './aadsts.ts'
import { adminConsent } from './admin-consent.ts'
import { authorize } from './authorize.ts'
import { authorityNamed, type Authority, type EntraHost } from './authority.ts'
import { firstVersionConfiguration, keySet, openIdConfiguration } from './discovery.ts'
import { logout } from './logout.ts'
import { errorPage } from './pages.ts'
import { token } from './token.ts'

type Endpoint = (authority: Authority, request: HttpRequest) => Promise<HttpAnswer> | HttpAnswer

const endpoints: Readonly<Record<string, Endpoint>> = {
  'GET /v2.0/.well-known/openid-configuration': (authority, request) =>
    openIdConfiguration(authority, request.baseUrl, graphUrlFor(authority, request)),
  'GET /discovery/v2.0/keys': (authority, request) => keySet(authority, request.baseUrl),
  'GET /.well-known/openid-configuration': (authority, request) =>
    firstVersionConfiguration(authority, request.baseUrl),
  'GET /discovery/keys': (authority, request) => keySet(authority, request.baseUrl),
  'GET /oauth2/v2.0/authorize': authorize,
  'POST /oauth2/v2.0/authorize': authorize,
  'POST /oauth2/v2.0/token': token,
  'GET /adminconsent': adminConsent,
  'POST /adminconsent': adminConsent,
  'GET /v2.0/adminconsent': adminConsent,
  'POST /v2.0/adminconsent': adminConsent,
  'GET /oauth2/v2.0/logout': logout,
  'POST /oauth2/v2.0/logout': logout,
}

/** Answers a request to the authority host: `/{tenant}` and then one of the endpoints above. */
export async function answerEntra(host: EntraHost, request: HttpRequest): Promise<HttpAnswer> {
  const [, tenant = '', rest = ''] = /^\/([^/]*)(\/.*)?$/.exec(request.path) ?? []
  const endpoint = endpoints[`${request.method} ${rest}`]
  if (!endpoint) return errorPage('Not found', `There is nothing at ${request.method} ${request.path}.`)
  try {
    return await endpoint(authorityNamed(host, tenant), request)
  } catch (error) {
    if (!(error instanceof AadstsError)) throw error
    if (rest.endsWith('/authorize') || rest.endsWith('/adminconsent'))
      return errorPage('Sorry, but we’re having trouble signing you in.', error.message)
    const at = new Date(host.now())
    return tokenErrorAnswer(request, at, {
      error: error.error,
      codes: [error.code],
      message: error.message,
      status: 400,
    })
  }
}

function graphUrlFor(authority: Authority, request: HttpRequest): string {
  const urls = authority.graphUrls()
  const scheme = new URL(request.baseUrl).protocol
  return urls.find((url) => url.startsWith(scheme)) ?? urls[0] ?? request.baseUrl
}
