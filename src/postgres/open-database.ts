import type { Clock } from "../lib/clock.ts";
import { DomainError } from "../lib/errors.ts";
import type { Log } from "../lib/log.ts";
import { codeOf, isCertificateFault, LOCK_TIMEOUT, rootOf } from "./conflicts.ts";
import { Database, type DatabaseOptions } from "./database.ts";
import { SQL_STATES, type SqlState, tellSqlState } from "./sql-states.ts";
import { TLS_FILE } from "./tls-files.ts";
import { NO_TLS } from "./wire.ts";

export interface Patience {
  readonly clock: Clock;
  readonly log: Log;
  /** How long a database that does not answer is waited for. */
  readonly waitMs: number;
}

const TRY_EVERY_MS = 1000;
const NOT_TRUSTED = "PostgreSQL's certificate is not trusted, or TLS with it fails";
const NO_TLS_OFFERED = "PostgreSQL offers no TLS, which sslmode asks for; set ssl = on there, or another sslmode";

/** Opens the database, as `whileAway` does. */
export function openDatabase(options: DatabaseOptions & Patience): Promise<Database> {
  return whileAway(options, () => Database.open(options));
}

/**
 * Does what a start needs of the database. While that does not answer, as when all starts at once, it is tried again from
 * the beginning, with a line each time.
 *
 * @throws Error that says what to do: after `waitMs`, or at once for what waiting does not mend
 */
export async function whileAway<T>({ clock, log, waitMs }: Patience, attempt: () => Promise<T>): Promise<T> {
  const giveUpAtMs = clock.monotonicMs() + waitMs;
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      const code = codeOf(error) ?? "";
      const lasting = lastingFault(error, code);
      if (lasting !== undefined) throw new Error(`DATABASE_URL: ${lasting}`, { cause: error });
      const isAway = error instanceof DomainError && error.reason === "DATABASE_UNAVAILABLE";
      if (!isAway && code !== LOCK_TIMEOUT) throw error;
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

/** What is wrong and what to do, where waiting does not mend it. */
function lastingFault(error: unknown, code: string): string | undefined {
  if (code === TLS_FILE) return rootOf(error).message;
  if (code === NO_TLS) return NO_TLS_OFFERED;
  if (isCertificateFault(code)) return `${NOT_TRUSTED} (${code})`;
  return SQL_STATES[code]?.ending === "by_a_person" ? tellSqlState(code) : undefined;
}

function factsOf({ name, meaning, todo }: SqlState) {
  return { name, meaning, todo };
}

function givenUp(waitedSeconds: number, code: string): string {
  const told = tellSqlState(code);
  if (told !== undefined) return `the database was not usable for ${waitedSeconds} s: ${told}`;
  return `the database did not answer for ${waitedSeconds} s (${code || "no answer"}); is it running, and does DATABASE_URL name it?`;
}
