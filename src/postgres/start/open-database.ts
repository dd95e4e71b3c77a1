/**
 * START. The questions that the start of the service and its commands ask of the database.
 *
 *   open-database.ts      opens it, and waits for a server that does not answer yet
 *   master-key-checks.ts  compares the master keys with those that the database was used with
 *   master-key-uses.ts    counts what is kept under each version of the master key
 *   tiers-in-use.ts       the names of all tiers of people and keys
 */
import type { Clock } from "../../lib/clock.ts";
import { DomainError } from "../../lib/errors.ts";
import type { Log } from "../../lib/log.ts";
import { TLS_FILE } from "../connections/tls-files.ts";
import { NO_TLS } from "../connections/wire.ts";
import { Database, type DatabaseOptions } from "../database.ts";
import { codeOf, isCertificateFault, LOCK_TIMEOUT, rootOf } from "../errors/driver-errors.ts";
import { SQL_STATES, type SqlState, sqlStateText } from "../errors/sql-states.ts";

export interface Patience {
  readonly clock: Clock;
  readonly log: Log;
  /** How long to wait for a database that does not answer. */
  readonly waitMs: number;
}

const TRY_EVERY_MS = 1000;
const NOT_TRUSTED = "PostgreSQL's certificate is not trusted, or TLS with it fails";
const NO_TLS_OFFERED = "PostgreSQL offers no TLS, which sslmode asks for; set ssl = on there, or another sslmode";

/** Opens the database. Waits for it like `retryWhileUnavailable`. */
export function openDatabase(options: DatabaseOptions & Patience): Promise<Database> {
  return retryWhileUnavailable(options, () => Database.open(options));
}

/**
 * Runs a step of the start that needs the database. While the database is unavailable, the step runs again from the
 * beginning, with a log line each time. That happens, for example, if all servers start at once.
 *
 * @throws Error that says what to do: after `waitMs`, or immediately if waiting does not help
 */
export async function retryWhileUnavailable<T>(
  { clock, log, waitMs }: Patience,
  attempt: () => Promise<T>,
): Promise<T> {
  const giveUpAtMs = clock.monotonicMs() + waitMs;
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      const code = codeOf(error) ?? "";
      const lasting = lastingFault(error, code);
      if (lasting !== undefined) throw new Error(`DATABASE_URL: ${lasting}`, { cause: error });
      const isUnavailable = error instanceof DomainError && error.reason === "DATABASE_UNAVAILABLE";
      if (!isUnavailable && code !== LOCK_TIMEOUT) throw error;
      const leftMs = giveUpAtMs - clock.monotonicMs();
      if (leftMs <= 0) throw new Error(givenUp(waitMs / 1000, code), { cause: error });
      const state = SQL_STATES[code];
      const facts = { code: code || "no answer", give_up_in_seconds: Math.ceil(leftMs / 1000) };
      if (state === undefined) log.warn("the database is unreachable; trying again", facts);
      else log.warn("the database is not usable yet; trying again", { ...facts, ...factsOf(state) });
      await new Promise((resolve) => setTimeout(resolve, Math.min(TRY_EVERY_MS, leftMs)));
    }
  }
}

/** The fault and what to do about it, if waiting does not help. */
function lastingFault(error: unknown, code: string): string | undefined {
  if (code === TLS_FILE) return rootOf(error).message;
  if (code === NO_TLS) return NO_TLS_OFFERED;
  if (isCertificateFault(code)) return `${NOT_TRUSTED} (${code})`;
  return SQL_STATES[code]?.ending === "by_a_person" ? sqlStateText(code) : undefined;
}

function factsOf({ name, meaning, todo }: SqlState) {
  return { name, meaning, todo };
}

function givenUp(waitedSeconds: number, code: string): string {
  const text = sqlStateText(code);
  if (text !== undefined) return `the database was not usable for ${waitedSeconds} s: ${text}`;
  return `the database did not answer for ${waitedSeconds} s (${code || "no answer"}); is it running, and does DATABASE_URL name it?`;
}
