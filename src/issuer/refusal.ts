/** The errors of RFC 6749, 5.2, and those of RFC 6750 and 8693 that go with them. */
export type OAuthError =
  | 'invalid_request'
  | 'invalid_client'
  | 'invalid_grant'
  | 'unauthorized_client'
  | 'unsupported_grant_type'
  | 'invalid_scope'
  | 'invalid_target'
  | 'temporarily_unavailable'

const statuses: Record<OAuthError, 400 | 401 | 503> = {
  invalid_request: 400,
  invalid_client: 401,
  invalid_grant: 400,
  unauthorized_client: 400,
  unsupported_grant_type: 400,
  invalid_scope: 400,
  invalid_target: 400,
  temporarily_unavailable: 503,
}

/** Why no token is given, for whoever asked. */
export class OAuthRefusal extends Error {
  readonly error: OAuthError
  /** The check that failed, in a word, for the log; nothing of the token. */
  readonly check: string

  /** `description` says what to do, and holds nothing of what was sent. */
  constructor(error: OAuthError, check: string, description: string) {
    super(description)
    this.name = 'OAuthRefusal'
    this.error = error
    this.check = check
  }

  get status(): 400 | 401 | 503 {
    return statuses[this.error]
  }

  get body(): { error: OAuthError; error_description: string } {
    // RFC 6749, 5.2 allows neither quotes nor backslashes, nor anything beyond ASCII.
    return {
      error: this.error,
      error_description: this.message.replaceAll(/[^\x20-\x21\x23-\x5B\x5D-\x7E]/g, "'"),
    }
  }
}
