import fc from 'fast-check'
import { expect, test } from 'vitest'
import { SyncError } from '../src/errors.ts'
import { classifyEntraError, entraFailure, type EntraErrorClass } from '../src/login/entra-error.ts'
import { identityFailure } from '../src/login/identity-token.ts'

const answer = { status: 400, error: 'invalid_grant', suberror: '', codes: [] as number[] }

const rows: [EntraErrorClass, readonly number[]][] = [
  ['sign_in_again', [50173, 700082, 70008, 700084, 70043, 50013, 500133]],
  ['claims_challenge', [50076, 50079, 50074, 50078]],
  ['consent', [65001, 65004, 90094]],
  ['denied', [53003, 53000, 50057, 50034, 50105]],
  ['credential', [7000215, 7000222, 7000218, 50012]],
  ['credential', [50048, 5002723, 700021, 700024, 700026, 700027, 700030, 7000213]],
  ['credential', [70021, 70025, 700211, 700212, 700213, 700229]],
  ['configuration', [700016, 7000112, 7000229, 90002, 50020]],
  ['bug', [70011, 28002, 700022, 54005, 501481]],
  ['throttled', [90055, 50196]],
  ['transient', [90033, 90006, 90024, 50033]],
]

/** What a worker makes of each class: the error's code, and its name where that decides the outcome. */
const ends: Record<EntraErrorClass, [code: string, name: string]> = {
  sign_in_again: ['token_rejected', 'TokenRejected'],
  claims_challenge: ['token_rejected', 'TokenRejected'],
  consent: ['token_rejected', 'TokenRejected'],
  denied: ['sign_in_denied', 'AccessDenied'],
  credential: ['config_invalid', 'CredentialRefused'],
  configuration: ['config_invalid', 'SyncError'],
  bug: ['unexpected_response', 'SyncError'],
  throttled: ['throttled', 'Throttled'],
  transient: ['graph_unavailable', 'GraphUnavailable'],
}

test.for(rows.flatMap(([name, codes]) => codes.map((code) => [code, name] as const)))(
  'AADSTS%i is %s, whatever the error beside it says',
  ([code, name]) => {
    for (const error of ['invalid_grant', 'interaction_required', 'invalid_client', 'never_heard_of']) {
      const told = { ...answer, error, codes: [1, code] }
      expect(classifyEntraError(told)).toBe(name)
      const failure = entraFailure(told)
      expect([failure.code, failure.name]).toEqual(ends[name])
    }
  },
)

test.for([
  ['invalid_grant', 'bad_token', 'sign_in_again'],
  ['interaction_required', 'basic_action', 'claims_challenge'],
  ['invalid_grant', 'basic_action', 'claims_challenge'],
  ['interaction_required', 'message_only', 'denied'],
  ['invalid_grant', 'consent_required', 'consent'],
  ['invalid_grant', '', 'sign_in_again'],
  ['login_required', '', 'sign_in_again'],
  ['interaction_required', '', 'claims_challenge'],
  ['consent_required', 'something new', 'consent'],
  ['access_denied', '', 'consent'],
  ['invalid_client', '', 'credential'],
  ['unauthorized_client', '', 'configuration'],
  ['invalid_tenant', '', 'configuration'],
  ['invalid_scope', '', 'bug'],
  ['invalid_request', '', 'bug'],
  ['temporarily_unavailable', '', 'transient'],
  ['server_error', '', 'transient'],
  ['', '', 'transient'],
] as const)('error %j with suberror %j and no code that is known is %s', ([error, suberror, name]) => {
  expect(classifyEntraError({ ...answer, error, suberror, codes: [999_999] })).toBe(name)
})

test('the number that decides is the one that is told of', () => {
  const told = { ...answer, status: 401, error: 'invalid_client', codes: [70002, 7_000_222] }
  expect(entraFailure(told)).toMatchObject({ reason: 'AADSTS7000222', isSure: true })
  expect(entraFailure({ ...told, codes: [70002] })).toMatchObject({ reason: 'AADSTS70002', isSure: false })
  expect(entraFailure({ ...answer, codes: [70002, 70008] })).toMatchObject({ reason: 'AADSTS70008' })
})

test('429 is a pause whatever else it says', () => {
  expect(classifyEntraError({ ...answer, status: 429, codes: [50173] })).toBe('throttled')
})

test.for([
  ['5', 5000],
  ['2.5', 2500],
  [new Date(Date.now() + 3_599_000_000).toUTCString(), 3_600_000],
  ['0', 1000],
  ['86400', 3_600_000],
  [null, 30_000],
] as const)('Retry-After %j of the token endpoint is a pause of %i ms', ([retryAfter, retryAfterMs]) => {
  expect(entraFailure({ ...answer, status: 429 }, { retryAfter })).toMatchObject({ retryAfterMs })
})

test('503 with Retry-After is a pause, and without it a reason to try again', () => {
  const unwell = { ...answer, error: 'temporarily_unavailable', status: 503 }
  expect(entraFailure(unwell, { retryAfter: '7' })).toMatchObject({ code: 'throttled', retryAfterMs: 7000 })
  expect(entraFailure(unwell)).toMatchObject({ code: 'graph_unavailable' })
})

test('every answer, however odd, becomes one of our errors, and no text of it but a code gets into the message', () => {
  fc.assert(
    fc.property(
      fc.record({
        status: fc.option(fc.integer({ min: 100, max: 599 }), { nil: undefined }),
        error: fc.string({ unit: 'binary' }),
        suberror: fc.string(),
        codes: fc.array(fc.integer({ min: 0 })),
      }),
      fc.option(fc.string(), { nil: null }),
      fc.option(fc.string(), { nil: undefined }),
      (error, retryAfter, claims) => {
        const failure = entraFailure(error, { retryAfter, claims })
        expect(failure).toBeInstanceOf(SyncError)
        expect(failure.message).toMatch(/^Entra answered [\w ]+(: [\w ,]+)?$/)
      },
    ),
  )
})

test('what MSAL says is found in the cause of a cause, and decided in the same way', () => {
  const claims = '{"access_token":{"polids":{"essential":true}}}'
  const msal = Object.assign(new Error('interaction_required: AADSTS50076 …'), {
    errorCode: 'interaction_required',
    errorNo: '50076',
    subError: 'basic_action',
    claims,
  })
  const wrapped = new Error('Automatic authentication has been disabled', {
    cause: new Error('one more', { cause: msal }),
  })
  expect(identityFailure(wrapped)).toMatchObject({ name: 'TokenRejected', reason: 'AADSTS50076', claims })
  const blocked = Object.assign(new Error(), { errorCode: 'invalid_grant', errorNo: '53003', subError: '' })
  expect(identityFailure(new Error('x', { cause: blocked }))).toMatchObject({ code: 'sign_in_denied' })
  const away = Object.assign(new Error(), { errorCode: 'endpoints_resolution_error' })
  expect(identityFailure(new Error('x', { cause: away }))).toMatchObject({ code: 'graph_unavailable' })
  expect(identityFailure('nothing')).toMatchObject({ code: 'graph_unavailable' })
})
