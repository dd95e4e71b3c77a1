import type { ChangeBus } from "../changes/change.ts";
import { ChangeFeed } from "../changes/change-feed.ts";
import { DatabaseBreaker } from "../changes/database-breaker.ts";
import { DatabaseClock } from "../changes/database-clock.ts";
import type { Config } from "../config/config.ts";
import { verdictSettings } from "../keys/verdict-settings.ts";
import { type AgeClock, systemTimers } from "../lib/clock.ts";
import type { Log } from "../lib/log.ts";
import type { ManagedDatabase } from "../postgres/database.ts";
import { EmbeddedChangeStore, PostgresChangeStore } from "../postgres/stores/change-store.ts";

export interface ChangeSourcesDeps {
  readonly config: Config;
  readonly clock: AgeClock;
  readonly log: Log;
}

/** The sources of this process's knowledge of changes, its own and those of other processes. */
export function createChanges({ config, clock, log }: ChangeSourcesDeps, database: ManagedDatabase, bus: ChangeBus) {
  const breaker = new DatabaseBreaker(clock, systemTimers, () => database.hotRead("select true", []));
  const databaseClock = new DatabaseClock(clock);
  const { target } = database;
  const isEmbedded = target.kind === "embedded";
  const store = isEmbedded
    ? new EmbeddedChangeStore(database)
    : new PostgresChangeStore(database, target.connection, log);
  const { tiers, keyPrefix: prefix, environments } = config;
  const settings = verdictSettings(tiers, { prefix, environments });
  const feed = new ChangeFeed({ store, bus, breaker, clock, databaseClock, timers: systemTimers, log, settings });
  return { feed, store, breaker, databaseClock };
}
