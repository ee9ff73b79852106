export type ErrorCode = {
  error: string
  /** `{0}`, `{1}` are details. */
  text: string
  suberror?: string
  /** Default 400. */
  status?: number
  /** The answer carries claims that the next sign-in has to satisfy. */
  claims?: true
  retryAfter?: string
}

const grant = (text: string, suberror?: string): ErrorCode =>
  suberror === undefined ? { error: 'invalid_grant', text } : { error: 'invalid_grant', text, suberror }
const client = (text: string): ErrorCode => ({ error: 'invalid_client', status: 401, text })
const interaction = (text: string): ErrorCode => ({
  error: 'interaction_required',
  suberror: 'basic_action',
  claims: true,
  text,
})
const transient = (text: string): ErrorCode => ({ error: 'temporarily_unavailable', status: 503, text })
const scope = (text: string): ErrorCode => ({ error: 'invalid_scope', text })
const request = (text: string): ErrorCode => ({ error: 'invalid_request', text })

/**
 * What Entra says for each AADSTS code (Entra docs: reference-error-codes). `error` and `suberror` are as recorded
 * from the service where records were found: 50173, 53003, 65001, 70043, 90033 and the MFA codes.
 */
export const errorCodes = {
  28002: scope("The scopes '{0}' belong to more than one resource."),
  50011: request(
    "The redirect URI '{0}' specified in the request does not match the redirect URIs configured for the application '{1}'.",
  ),
  50027: client("Invalid JWT token: '{0}' is missing, malformed, or was used before."),
  50013: grant('Assertion failed signature validation.'),
  50020: grant("User account '{0}' from another identity provider does not exist in tenant '{1}'."),
  50033: transient('A transient error has occurred. Please try again.'),
  50034: grant('The user account {0} does not exist in the {1} directory.'),
  50057: grant('The user account is disabled.'),
  50058: { error: 'login_required', text: 'A silent sign-in request was sent but no user is signed in.' },
  50074: interaction('Strong authentication is required and the user did not pass it.'),
  50076: interaction(
    "Due to a configuration change made by your administrator, or because you moved to a new location, you must use multi-factor authentication to access '{0}'.",
  ),
  50078: interaction('Presented multi-factor authentication has expired due to policies.'),
  50079: interaction("You must enroll in multi-factor authentication to access '{0}'."),
  50059: request(
    'No tenant-identifying information found in either the request or implied by any provided credentials.',
  ),
  50194: request(
    "Application '{0}' is not configured as a multi-tenant application. Usage of the /{1} endpoint is not supported for such applications. Use a tenant-specific endpoint or configure the application to be multi-tenant.",
  ),
  50105: grant("The signed in user '{0}' is not assigned to a role for the application '{1}'."),
  50173: grant(
    'The provided grant has expired due to it being revoked, a fresh auth token is needed. The user might have changed or reset their password.',
    'bad_token',
  ),
  50196: grant('The server terminated an operation because it encountered a client request loop.'),
  53000: { ...grant('The device is not compliant.', 'additional_action'), claims: true },
  53003: {
    ...grant('Access has been blocked by Conditional Access policies.', 'message_only'),
    claims: true,
  },
  54005: grant('OAuth2 Authorization code was already redeemed.'),
  65001: grant(
    "The user or administrator has not consented to use the application with ID '{0}'.",
    'consent_required',
  ),
  65004: { error: 'access_denied', text: 'The user declined to consent to access the app.' },
  70000: grant('Provided grant is invalid or malformed.'),
  70003: { error: 'unsupported_grant_type', text: "The app requested an unsupported grant type '{0}'." },
  70008: grant('The provided authorization code or refresh token has expired due to inactivity.'),
  70011: scope("The provided value for the input parameter 'scope' isn't valid. The scope {0} isn't valid."),
  70043: grant(
    'The refresh token has expired or is invalid due to sign-in frequency checks by conditional access.',
    'token_expired',
  ),
  90002: {
    error: 'invalid_tenant',
    text: "Tenant '{0}' not found. Check to make sure you have the correct tenant ID.",
  },
  90006: transient('The service is temporarily unavailable.'),
  90014: request("The required field '{0}' is missing from the credential."),
  90024: transient('A transient error has occurred. Please try again.'),
  90033: transient('A transient error has occurred. Please try again.'),
  90055: {
    error: 'temporarily_unavailable',
    status: 429,
    retryAfter: '10',
    text: 'There are too many incoming requests for the tenant.',
  },
  90094: { error: 'access_denied', text: 'An administrator of {0} has to consent to the scopes {1}.' },
  500131: grant(
    'Assertion audience does not match the Client app presenting the assertion. The expected audience is {0}.',
  ),
  500133: grant('Assertion is not within its valid time range.'),
  501481: grant('The Code_Verifier does not match the code_challenge supplied in the authorization request.'),
  700005: grant('Provided Authorization Code is intended to use against other tenant, thus rejected.'),
  700016: {
    error: 'unauthorized_client',
    text: "Application with identifier '{0}' was not found in the directory '{1}'.",
  },
  700022: scope('The scope contains more than one resource.'),
  700021: client("Client assertion application identifier doesn't match 'client_id' parameter."),
  700023: client('Client assertion audience claim does not match Realm issuer.'),
  700024: client('Client assertion is not within its valid time range.'),
  700027: client('The certificate of the client assertion is not registered on the application.'),
  700054: {
    error: 'unsupported_response_type',
    text: "response_type '{0}' is not enabled for the application.",
  },
  700082: grant('The refresh token has expired due to inactivity.'),
  700084: grant('The refresh token was issued to a single page app and has a fixed, limited lifetime.'),
  700211: client("No matching federated identity record found for presented assertion issuer '{0}'."),
  700212: client("No matching federated identity record found for presented assertion audience '{0}'."),
  700213: client("No matching federated identity record found for presented assertion subject '{0}'."),
  900144: request("The request body must contain the following parameter: '{0}'."),
  1002012: scope(
    'The provided value for scope {0} is not valid. Client credential flows must have a scope value with /.default suffixed to the resource identifier (application ID URI).',
  ),
  7000112: { error: 'unauthorized_client', text: "Application '{0}' is disabled." },
  7000114: grant("Application '{0}' is not allowed to make application on-behalf-of calls."),
  7000215: client("Invalid client secret provided for app '{0}'."),
  7000218: client(
    "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.",
  ),
  5002723: client('Invalid JWT token. No certificate thumbprint nor keyId specified in token header.'),
  7000222: client("The provided client secret keys for app '{0}' are expired."),
  9001023: request(
    'The grant type is not supported over the /common or /consumers endpoints. Please use the /organizations or tenant-specific endpoint.',
  ),
  9002313: request('Request is malformed or invalid.'),
} as const satisfies Record<number, ErrorCode>

export type AadstsCode = keyof typeof errorCodes

/** What a code's answer says, details left empty. */
export function errorCode(code: AadstsCode): ErrorCode {
  return errorCodes[code]
}
