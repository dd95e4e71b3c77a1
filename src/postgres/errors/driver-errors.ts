/**
 * From an error of the driver to an error that the rooms understand.
 *
 *   driver-errors.ts    sorts errors by their code, and wraps them in a DomainError
 *   sql-states.ts       what each SQLSTATE means for an operator, and what to do
 *   sql-state-alarm.ts  logs the errors that do not end by themselves
 */
import { causesOf, codedCause, DomainError, databaseUnavailable } from "../../lib/errors.ts";

/**
 * The meaning of an error of the driver. The ORM wraps the driver's error and keeps its SQLSTATE in `code`. PGlite and
 * pg use the same codes (PostgreSQL, Appendix A).
 */
type Fault = "conflict" | "locked" | "unique" | "unavailable" | "other";

/**
 * SQLSTATEs, and classes of them, that concern the database and not the call: "not now", or "not until a person has
 * acted" (sql-states.ts). Whatever the call asked for, the truth is unreachable.
 */
const UNAVAILABLE_STATE =
  /^(08...|53...|57P0[1-5]|57014|58...|25006|25P0[34]|55000|XX00[012]|28P01|28000|3D000|3F000|0A000|22021|22P05|42501|42703|42704|42883|42P01)$/;
/** System codes of the way to the server: sockets, their number, names, and TLS. */
const UNAVAILABLE_WAY =
  /^(ECONN(REFUSED|RESET|ABORTED)|EPIPE|EPROTO|ETIMEDOUT|E(HOST|NET)(UNREACH|DOWN)|E[MN]FILE|ENOBUFS|EADDRNOTAVAIL|ENOTFOUND|EAI_[A-Z]+)$/;
/** Node's codes for a certificate that is not trusted. */
const CERTIFICATE = /^(CERT_[A-Z_]+|ERR_(TLS|SSL)_[A-Z0-9_]+|UNABLE_TO_[A-Z_]+|[A-Z_]*SELF_SIGNED_CERT[A-Z_]*)$/;
/** Messages of pg, its pool and PGlite for errors without a code. */
const UNAVAILABLE_TEXT =
  /timeout exceeded|timeout expired|Connection terminated|Query read timeout|Client was closed|Client has encountered a connection error|Cannot use a pool after calling end|PGlite is clos|driver has already been destroyed/i;

/**
 * SQLSTATE of a statement that waited too long for a lock. This process does not hold that lock itself
 * (transactions/locks.ts): another process or an administrator does. The database is reachable.
 */
export const LOCK_TIMEOUT = "55P03";

export function faultOf(error: unknown): Fault {
  const code = codeOf(error);
  if (code === "40001" || code === "40P01") return "conflict";
  if (code === LOCK_TIMEOUT) return "locked";
  if (code === "23505") return "unique";
  if (code !== undefined && isUnavailableCode(code)) return "unavailable";
  return isUnavailableText(error) ? "unavailable" : "other";
}

/** Whether TLS with the server fails because of its certificate. Waiting does not help. */
export function isCertificateFault(code: string): boolean {
  return CERTIFICATE.test(code);
}

export function isUniqueViolation(error: unknown): boolean {
  return faultOf(error) === "unique";
}

/**
 * The error that leaves this room: a DomainError unchanged, a driver's error as DATABASE_UNAVAILABLE or CONTENTION, any
 * other error unchanged.
 */
export function toDomainError(error: unknown): unknown {
  if (error instanceof DomainError) return error;
  // A standby refuses to plan a statement that names the unlogged table of a proof (feature_not_supported).
  if (codeOf(error) === "0A000") return unavailable("the database is a standby", "25006");
  switch (faultOf(error)) {
    case "unavailable":
      return databaseUnavailable(undefined, error);
    case "conflict":
    case "locked":
      return new DomainError("CONTENTION", "too many concurrent changes; try again", {
        retryAfterMs: 100,
        cause: error,
      });
    default:
      return error;
  }
}

/**
 * DATABASE_UNAVAILABLE for a fault that this room finds itself. `code` is the code that the driver or the server would
 * use.
 */
export function unavailable(message: string, code: string): DomainError {
  return databaseUnavailable(message, Object.assign(new Error(message), { code }));
}

/** DATABASE_UNAVAILABLE for a server that does not answer in time. */
export function noAnswer(): DomainError {
  return unavailable("the database does not answer", "ETIMEDOUT");
}

/** Messages of the pool and pg when connecting took too long. */
const CONNECT_TIMEOUT = /timeout exceeded when trying to connect|timeout expired|due to connection timeout/i;
const STATEMENT_TIMEOUT = "57014";

/** Whether connecting or a statement took longer than allowed, so that nothing was done. */
export function tookTooLong(error: unknown): boolean {
  return codeOf(error) === STATEMENT_TIMEOUT || CONNECT_TIMEOUT.test(rootOf(error).message);
}

/** SQLSTATE or system code of an error or its causes. */
export function codeOf(error: unknown): string | undefined {
  const coded = codedCause(error);
  return coded?.code === "08P01" && NO_DATABASE_TEXT.test(coded.message) ? "3D000" : coded?.code;
}

/**
 * Messages of pgbouncer for a database that does not exist, under its code 08P01. It passes on the first form from
 * PostgreSQL, and writes the second itself.
 */
const NO_DATABASE_TEXT = /^(server login failed: FATAL )?(database ".*" does not exist$|no such database: )/;

/** The innermost cause: the error of the driver or the system. */
export function rootOf(error: unknown): Error {
  return causesOf(error).at(-1) ?? (error as Error);
}

function isUnavailableCode(code: string): boolean {
  return [UNAVAILABLE_STATE, UNAVAILABLE_WAY, CERTIFICATE].some((codes) => codes.test(code));
}

function isUnavailableText(error: unknown): boolean {
  return causesOf(error).some(({ message }) => UNAVAILABLE_TEXT.test(message));
}
