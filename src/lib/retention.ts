import type { Timers } from "./clock.ts";
import { reasonOf } from "./errors.ts";
import type { Log } from "./log.ts";

export interface RetentionDeps {
  /** What is deleted, for the log. */
  readonly what: string;
  /** Deletes some of what is older than it is to be kept, so that no transaction is long. @returns whether more is left */
  readonly prune: () => Promise<boolean>;
  readonly timers: Timers;
  readonly log: Log;
}

/** Also where no process lives long. */
const FIRST_AFTER_MS = 300_000;
const EVERY_MS = 600_000;

/**
 * Deletes what is older than it is to be kept, five minutes from now and then every ten, all that there is.
 * @returns ends it
 */
export function startRetention({ what, prune, timers, log }: RetentionDeps): () => void {
  let isOver = false;
  let cancel = () => {};
  const pruneAll = async () => {
    try {
      while (!isOver && (await prune()));
    } catch (error) {
      if (isOver) return;
      log.warn(`old ${what} could not be deleted; trying again in ten minutes`, { reason: reasonOf(error) });
    }
    if (!isOver) after(EVERY_MS);
  };
  const after = (delayMs: number) => {
    cancel = timers.after(delayMs, () => void pruneAll());
  };
  after(FIRST_AFTER_MS);
  return () => {
    isOver = true;
    cancel();
  };
}
