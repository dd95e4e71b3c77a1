import type { Clock } from "../lib/clock.ts";
import { DomainError } from "../lib/errors.ts";
import type { Log } from "../lib/log.ts";
import { codeOf, isCertificateFault, rootOf } from "./conflicts.ts";
import { Database, type DatabaseOptions } from "./database.ts";
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
/** What PostgreSQL says that waiting does not mend, by SQLSTATE. */
const MISCONFIGURATIONS: Readonly<Record<string, string>> = {
  "28P01": "PostgreSQL refuses this password",
  "28000": "PostgreSQL refuses this role, or wants TLS; see its pg_hba.conf",
  "3D000": "there is no such database; create it first",
  [NO_TLS]: "PostgreSQL offers no TLS, which sslmode asks for; set ssl = on there, or another sslmode",
};

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
      const misconfiguration = misconfigurationOf(error, code);
      if (misconfiguration !== undefined) throw new Error(`DATABASE_URL: ${misconfiguration}`, { cause: error });
      const isAway = error instanceof DomainError && error.reason === "DATABASE_UNAVAILABLE";
      const leftMs = giveUpAtMs - clock.monotonicMs();
      if (!isAway) throw error;
      if (leftMs <= 0)
        throw new Error(
          `the database did not answer for ${waitMs / 1000} s (${code}); is it running, and does DATABASE_URL name it?`,
        );
      log.warn("the database is out of reach; trying again", { code, give_up_in_seconds: Math.ceil(leftMs / 1000) });
      await new Promise((resolve) => setTimeout(resolve, Math.min(TRY_EVERY_MS, leftMs)));
    }
  }
}

/** What is wrong that waiting does not mend, in words; undefined where waiting may. */
function misconfigurationOf(error: unknown, code: string): string | undefined {
  if (code === TLS_FILE) return rootOf(error).message;
  if (code in MISCONFIGURATIONS) return MISCONFIGURATIONS[code];
  return isCertificateFault(code) ? `${NOT_TRUSTED} (${code})` : undefined;
}
