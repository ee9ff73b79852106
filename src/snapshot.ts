/** A user–group link as Graph reports it now, with the labels the groups table keeps. Null means "not told". */
export type RemoteMembership = {
  /** The group's object id: its identity. Everything else is a label. */
  objectId: string
  displayName: string | null
  description: string | null
  mail: string | null
  securityEnabled: boolean | null
  mailEnabled: boolean | null
  /** Null for a limited-information object, of which Graph tells the id and the type only. */
  groupTypes: readonly string[] | null
}

export type Profile = {
  displayName: string | null
  userPrincipalName: string | null
  mail: string | null
  otherMails: readonly string[] | null
}

/** One complete read of a user's remote memberships. An incomplete read is an error, never a snapshot. */
export type Snapshot = {
  /** When the read began, by the database's clock (ISO 8601 with microseconds): the newest wins. */
  beganAt: string
  /** Each group once. */
  memberships: readonly RemoteMembership[]
  /**
   * Read with `Member.Read.Hidden`: without it groups with hidden membership may be left out (Graph docs:
   * list transitiveMemberOf), so that a list without them proves nothing about them.
   */
  hidden?: boolean
  /**
   * Read with a permission to read groups. Without one Graph lists ids alone (Graph docs: permissions-overview, limited
   * information); a token that had it and lost it removes nothing. Default true.
   */
  groupsRead?: boolean
  /** Whether the person may sign in, as the app is told; undefined where it isn't. `gone`: Graph knows no such person. */
  standing?: 'enabled' | 'disabled' | 'gone' | undefined
  /** Labels of the person; null means "not told". */
  person?: Profile | undefined
  /** Graph's `request-id` of the last page. */
  requestId: string | undefined
}
