import type { Timers } from "./clock.ts";
import type { Log } from "./log.ts";

export interface RetentionDeps {
  /** What is deleted, for the log. */
  readonly what: string;
  /** Deletes what is older than it is to be kept. */
  readonly prune: () => Promise<void>;
  readonly timers: Timers;
  readonly log: Log;
}

const PRUNE_EVERY_MS = 3_600_000;

/** Deletes what is older than it is to be kept, every hour. @returns ends it */
export function startRetention(deps: RetentionDeps): () => void {
  let cancel = () => {};
  const prune = async () => {
    await deps.prune().catch(() => deps.log.warn(`old ${deps.what} could not be deleted; trying again`));
    next();
  };
  const next = () => {
    cancel = deps.timers.after(PRUNE_EVERY_MS, () => void prune());
  };
  next();
  return () => cancel();
}
