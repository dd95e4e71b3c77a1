import { DomainError } from "../lib/errors.ts";
import { standby } from "./standby-check.ts";

/**
 * What an error of the driver means. The ORM wraps the driver's error and keeps its SQLSTATE in `code`; PGlite and pg
 * use the same codes (PostgreSQL, Appendix A).
 */
type Fault = "conflict" | "locked" | "unique" | "unavailable" | "other";

/**
 * Classes and codes of SQLSTATE that speak of the database and not of the call: "not now", or "not until a person has
 * acted" (sql-states.ts). Whatever was asked for, the truth is unreachable.
 */
const UNAVAILABLE_STATE =
  /^(08...|53...|57P0[1-5]|57014|58...|25006|25P0[34]|55000|XX00[012]|28P01|28000|3D000|3F000|0A000|22021|22P05|42501|42703|42704|42883|42P01)$/;
/** The way there: sockets, their number, names, and TLS. */
const UNAVAILABLE_WAY =
  /^(ECONN(REFUSED|RESET|ABORTED)|EPIPE|EPROTO|ETIMEDOUT|E(HOST|NET)(UNREACH|DOWN)|E[MN]FILE|ENOBUFS|EADDRNOTAVAIL|ENOTFOUND|EAI_[A-Z]+)$/;
/** A certificate that is not trusted, as Node names it. */
const CERTIFICATE = /^(CERT_[A-Z_]+|ERR_(TLS|SSL)_[A-Z0-9_]+|UNABLE_TO_[A-Z_]+|[A-Z_]*SELF_SIGNED_CERT[A-Z_]*)$/;
/** pg and its pool report these without a code. */
const UNAVAILABLE_TEXT =
  /timeout exceeded|timeout expired|Connection terminated|Query read timeout|Client was closed|Client has encountered a connection error|Cannot use a pool after calling end|PGlite is clos|driver has already been destroyed/i;

/**
 * A statement waited too long for a lock. Others of this process don't hold it (locks.ts): it is another process', or an
 * administrator's. The database is there.
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

/** Whether the way to the server fails for its certificate, which waiting does not mend. */
export function isCertificateFault(code: string): boolean {
  return CERTIFICATE.test(code);
}

export function isUniqueViolation(error: unknown): boolean {
  return faultOf(error) === "unique";
}

/** The error that leaves this folder: ours as it is, the driver's as DATABASE_UNAVAILABLE, CONTENTION or itself. */
export function toDomainError(error: unknown): unknown {
  if (error instanceof DomainError) return error;
  // A standby refuses, when it plans it, each statement that names the unlogged table of a proof (feature_not_supported).
  if (codeOf(error) === "0A000") return standby();
  switch (faultOf(error)) {
    case "unavailable":
      return unavailable(error);
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

export function unavailable(cause: unknown): DomainError {
  return new DomainError("DATABASE_UNAVAILABLE", "the database is out of reach; try again", {
    retryAfterMs: 1000,
    cause,
  });
}

/** How the pool and pg say that connecting took too long. */
const CONNECT_TIMEOUT = /timeout exceeded when trying to connect|timeout expired|due to connection timeout/i;
const STATEMENT_TIMEOUT = "57014";

/** Whether connecting or a statement took longer than it may, so that nothing was done. */
export function tookTooLong(error: unknown): boolean {
  return codeOf(error) === STATEMENT_TIMEOUT || CONNECT_TIMEOUT.test(rootOf(error).message);
}

/** SQLSTATE or the system's code, from an error or its causes. */
export function codeOf(error: unknown): string | undefined {
  for (let e = error, depth = 0; e instanceof Error && depth < 5; e = e.cause, depth++) {
    const code = (e as { code?: unknown }).code;
    if (code === "08P01" && OF_NO_DATABASE.test(e.message)) return "3D000";
    if (typeof code === "string") return code;
  }
  return undefined;
}

/** pgbouncer hands on what PostgreSQL said when it logged in, under a code of its own, and says the second by itself. */
const OF_NO_DATABASE = /^(server login failed: FATAL )?(database ".*" does not exist$|no such database: )/;

/** The error that all others were made of: the driver's or the system's. */
export function rootOf(error: unknown): Error {
  let root = error as Error;
  for (let depth = 0; root.cause instanceof Error && depth < 5; depth++) root = root.cause;
  return root;
}

function isUnavailableCode(code: string): boolean {
  return [UNAVAILABLE_STATE, UNAVAILABLE_WAY, CERTIFICATE].some((codes) => codes.test(code));
}

function isUnavailableText(error: unknown): boolean {
  for (let e = error, depth = 0; e instanceof Error && depth < 5; e = e.cause, depth++) {
    if (UNAVAILABLE_TEXT.test(e.message)) return true;
  }
  return false;
}
