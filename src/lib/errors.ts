/**
 * LIB. Tools of several rooms. They know nothing of keys, people or calls, and import nothing of ours.
 *
 *   errors.ts               reasons for which a call can fail, and the one error that carries them
 *   log.ts                  the log
 *   log-lines.ts            every log line, with its meaning and what to do
 *   tracing.ts              spans of OpenTelemetry, if an operator loads an SDK
 *   counted-log.ts          a log that counts warnings and errors
 *   histogram.ts            a histogram in plain arrays
 *   standard-output.ts      the stream that log lines go to, which waits for no reader
 *   clock.ts                time and timers
 *   random.ts               random bytes and random base62 characters
 *   base62.ts               checksums and digits of base62
 *   id.ts                   ids of things, with a prefix for each kind
 *   text.ts                 the rules for free text
 *   scope.ts                the form of a scope
 *   page.ts                 a page of a list, and the position after it
 *   certificate-name.ts     names of client certificates
 *   ip.ts                   IP addresses and the networks that contain them
 *   key-ring.ts             the master keys, and the keys that are derived from them
 *   private-files.ts        files and folders that only one user can read
 *   database-connection.ts  how PostgreSQL is reached
 *   message-writer.ts       a protobuf encoder for the answers that are written most often
 *   lru.ts                  a bounded map
 *   oldest-first.ts         an intrusive list
 *   shared-reads.ts         single-flight reads with a concurrency limit
 *   settle-within.ts        waits for a promise, up to a bound
 *   when-silent.ts          times out a wait, but not because this process stood still
 *   retention.ts            deletes expired rows now and then
 */

/**
 * Every reason for which a call can fail, as one closed list. `rpc/errors.ts` maps each reason to a gRPC code with a
 * total Record, so a new reason without a code does not compile. `docs/ERRORS.md` is generated from there.
 */
export type Reason =
  // the request
  | "INVALID_FIELD"
  | "REQUEST_ID_REUSED"
  | "MESSAGE_INVALID"
  | "HTTP_PATH_NOT_FOUND"
  | "HTTP_METHOD_NOT_ALLOWED"
  | "HTTP_CONTENT_NOT_ALLOWED"
  // who the caller is
  | "CREDENTIAL_MISSING"
  | "CREDENTIAL_INVALID"
  | "LOGIN_FAILED"
  | "PASSWORD_WRONG"
  | "REFRESH_TOKEN_INVALID"
  | "RESET_TOKEN_INVALID"
  // what the caller may do
  | "ACCESS_DENIED"
  | "OWNER_NOT_ALLOWED"
  | "TIER_NOT_GRANTED"
  | "SCOPE_NOT_GRANTED"
  | "FIELD_NOT_ALLOWED"
  | "KEY_RESTRICTED"
  | "REGISTRATION_CLOSED"
  // what exists
  | "KEY_NOT_FOUND"
  | "USER_NOT_FOUND"
  | "SESSION_NOT_FOUND"
  | "SERVICE_CREDENTIAL_NOT_FOUND"
  | "SIGNING_KEY_NOT_FOUND"
  | "HEALTH_SERVICE_NOT_FOUND"
  | "EMAIL_TAKEN"
  | "CERTIFICATE_NAME_TAKEN"
  | "REQUEST_ID_USED"
  | "KEY_ENDED"
  | "USER_DISABLED"
  | "LAST_ADMIN_CREDENTIAL"
  | "ETAG_MISMATCH"
  // amounts and load
  | "KEY_QUOTA_EXCEEDED"
  | "SECRET_QUOTA_EXCEEDED"
  | "TOO_MANY_ATTEMPTS"
  | "TOO_MANY_CHANGES"
  | "OVERLOADED"
  | "MESSAGE_TOO_LARGE"
  // what failed
  | "DATABASE_UNAVAILABLE"
  | "LIMITS_UNAVAILABLE"
  | "MASTER_KEY_MISSING"
  | "CONTENTION"
  | "DEADLINE_EXCEEDED"
  | "CANCELLED"
  | "SHUTTING_DOWN"
  | "NOT_IMPLEMENTED"
  | "INTERNAL";

/** One fault in one field of a request. */
export interface Violation {
  /** Path of the field in the request message, snake_case, such as `key.allowed_ips[2]`. */
  readonly field: string;
  /** A sentence for a person that says what is required. Never repeats a secret. */
  readonly description: string;
  /** For programs, in UPPER_SNAKE_CASE, if the field has several rules (passwords). */
  readonly reason?: string;
}

export interface ErrorExtras {
  readonly violations?: readonly Violation[];
  /** Only if waiting helps. */
  readonly retryAfterMs?: number;
  /** Facts for programs, such as `key_id`; sent as ErrorInfo.metadata. Never a secret. */
  readonly metadata?: Readonly<Record<string, string>>;
  /** For the log, never sent. */
  readonly cause?: unknown;
  /** For log and audit trail, never sent. */
  readonly untold?: UntoldFacts;
}

/** Facts about a refusal that the caller must not learn. */
export interface UntoldFacts {
  /** Digest of the account that the attempt named, whether or not the account exists. */
  readonly account?: string;
  /** The requested thing exists and belongs to another user. The caller learns only that it is not theirs. */
  readonly isAnothers?: true;
  /** The caller presented a genuine credential that is no longer good. */
  readonly spent?: SpentCredential;
}

/** A credential of a user that was used up, or ended with its session. */
export interface SpentCredential {
  readonly kind: "access_token" | "refresh_token" | "reset_token";
  readonly userId: string;
  readonly sessionId?: string;
}

/** The one error that rooms throw for what a caller can cause or must know. The caller sees its message. */
export class DomainError extends Error {
  override readonly name = "DomainError";
  readonly reason: Reason;
  readonly violations: readonly Violation[];
  readonly retryAfterMs: number | undefined;
  readonly metadata: Readonly<Record<string, string>>;
  readonly untold: UntoldFacts | undefined;

  constructor(reason: Reason, message: string, extras: ErrorExtras = {}) {
    super(message, extras.cause === undefined ? undefined : { cause: extras.cause });
    this.reason = reason;
    this.violations = extras.violations ?? [];
    this.retryAfterMs = extras.retryAfterMs;
    this.metadata = extras.metadata ?? {};
    this.untold = extras.untold;
  }
}

/**
 * An error that is made once and thrown many times, frozen. For refusals of a flood: the stack trace of a new error and
 * the encoding of its details cost more than the refused call, and `rpc/errors.ts` encodes a frozen error only once.
 */
export function constantError(reason: Reason, message: string, extras?: ErrorExtras): DomainError {
  return Object.freeze(new DomainError(reason, message, extras));
}

/** How long callers are told to wait before they ask the database again. */
const DATABASE_RETRY_AFTER_MS = 1000;

/** DATABASE_UNAVAILABLE, with a retry after 1 s: the truth is unreachable, and nothing was decided. */
export function databaseUnavailable(message = "the database is unreachable; try again", cause?: unknown): DomainError {
  return new DomainError("DATABASE_UNAVAILABLE", message, { retryAfterMs: DATABASE_RETRY_AFTER_MS, cause });
}

/** Maximum causes of an error that `causesOf` follows. */
const MAX_CAUSES = 5;

/** An error and its causes, the outermost first. */
export function causesOf(error: unknown): readonly Error[] {
  const causes: Error[] = [];
  for (let e = error; e instanceof Error && causes.length < MAX_CAUSES; e = e.cause) causes.push(e);
  return causes;
}

/** The first of an error and its causes that has a code: ECONNREFUSED, an SQLSTATE ... */
export function codedCause(error: unknown): (Error & { readonly code: string }) | undefined {
  const coded = causesOf(error).find((each) => typeof (each as { code?: unknown }).code === "string");
  return coded as (Error & { readonly code: string }) | undefined;
}

/** The reason of an error, for a log line. Never the message, because it may quote values. */
export function reasonOf(error: unknown): Reason {
  return error instanceof DomainError ? error.reason : "INTERNAL";
}

export function invalidField(field: string, description: string, reason?: string): DomainError {
  const violation = reason === undefined ? { field, description } : { field, description, reason };
  return invalidFields([violation]);
}

/**
 * An INVALID_FIELD error with all violations. Its message is that of the first violation, and the number of the others.
 */
export function invalidFields(violations: readonly Violation[]): DomainError {
  const [first, ...others] = violations.map((violation) => `${violation.field}: ${violation.description}`);
  const text = others.length === 0 ? first! : `${first}; and ${others.length} more`;
  return new DomainError("INVALID_FIELD", text, { violations });
}
