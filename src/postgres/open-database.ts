import type { Clock } from "../lib/clock.ts";
import { DomainError } from "../lib/errors.ts";
import type { Log } from "../lib/log.ts";
import { Database, type DatabaseOptions } from "./database.ts";

export interface OpenDatabaseOptions extends DatabaseOptions {
  readonly clock: Clock;
  readonly log: Log;
  /** How long a database that does not answer is waited for. */
  readonly waitMs: number;
}

const TRY_EVERY_MS = 1000;

/**
 * Opens the database; one that does not answer yet, as when all starts at once, is tried again, with a line each time.
 *
 * @throws DATABASE_UNAVAILABLE after `waitMs`, and at once what waiting does not mend
 */
export async function openDatabase(options: OpenDatabaseOptions): Promise<Database> {
  const { clock, log, waitMs } = options;
  const giveUpAtMs = clock.monotonicMs() + waitMs;
  for (;;) {
    try {
      return await Database.open(options);
    } catch (error) {
      const isAway = error instanceof DomainError && error.reason === "DATABASE_UNAVAILABLE";
      const leftMs = giveUpAtMs - clock.monotonicMs();
      if (!isAway || leftMs <= 0) throw error;
      log.warn("the database is out of reach; trying again", { give_up_in_seconds: Math.ceil(leftMs / 1000) });
      await new Promise((resolve) => setTimeout(resolve, Math.min(TRY_EVERY_MS, leftMs)));
    }
  }
}
