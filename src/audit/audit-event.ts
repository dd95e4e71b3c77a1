/**
 * The kinds of audit events, as `<what>.<happened>`. A closed list, so that readers of the audit trail can rely on it.
 */
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
  "credential.updated",
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
 * The kinds of attempts that failed or were refused; see refusal-recorder.ts. One event counts the attempts of an hour.
 * The reuse of a refresh token is not among these kinds: it ends the session, so it is a change.
 */
export type RefusalKind = Extract<AuditKind, "login.failed" | `${string}.throttled` | `${string}.refused`>;

/** An audit event that is about to be recorded. */
export interface AuditEntry {
  readonly kind: AuditKind;
  /** Id of a user or credential, `bootstrap`, or empty for an anonymous caller and for the service itself. */
  readonly actorId: string;
  /** Id of the user, key, session or other subject that the event concerns. */
  readonly subjectId: string;
  readonly clientIp: string;
  /**
   * Further facts, such as which fields changed. Never a secret. Only fields that authorize are recorded with their
   * values: a user's tier and scopes, and a key's tier, scopes, limits, allow-lists and end.
   */
  readonly details?: Readonly<Record<string, string>>;
}

/** An audit event as it was recorded. */
export interface AuditEvent extends Required<AuditEntry> {
  readonly id: string;
  readonly happenedAtMs: number;
}
