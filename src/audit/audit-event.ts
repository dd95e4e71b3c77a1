/** Everything that is put on record, as `<what>.<happened>`. A closed list, so that who reads the trail can rely on it. */
export const AUDIT_KINDS = [
  "key.issued",
  "key.updated",
  "key.disabled",
  "key.enabled",
  "key.rotated",
  "key.revoked",
  "key.deleted",
  "key.limits_reset",
  "credential.issued",
  "credential.rotated",
  "credential.revoked",
  "user.registered",
  "user.created",
  "user.updated",
  "user.disabled",
  "user.enabled",
  "user.password_changed",
  "user.password_reset",
  "user.reset_token_created",
  "user.login_failures_cleared",
  "session.begun",
  "session.ended",
  "session.token_reused",
  "signing_key.created",
  "signing_key.revoked",
  "login.failed",
  "login.throttled",
  "login.refused",
  "reset_token.refused",
  "session.refused",
  "credential.refused",
  "access.refused",
] as const;

export type AuditKind = (typeof AUDIT_KINDS)[number];

/**
 * Attempts that failed or were refused; see refusal-recorder.ts. One event counts those of an hour. Reuse of a refresh
 * token of a live session is none of them: it is a change, because the session ends.
 */
export type RefusalKind = Extract<AuditKind, "login.failed" | `${string}.throttled` | `${string}.refused`>;

/** What a transaction puts on record. */
export interface AuditEntry {
  readonly kind: AuditKind;
  /** Id of a user or credential, `bootstrap`, or empty for anonymous and the service itself. */
  readonly actorId: string;
  /** Id of what it was done to. */
  readonly subjectId: string;
  readonly clientIp: string;
  /**
   * Further facts, such as which fields changed. Never a secret, and never the value of a field, except of what
   * authorises: a user's tier and scopes, and a key's tier, scopes, limits, allow-lists and end.
   */
  readonly details?: Readonly<Record<string, string>>;
}

/** An entry as it is kept. */
export interface AuditEvent extends Required<AuditEntry> {
  readonly id: string;
  readonly happenedAtMs: number;
}
