import type { Timers } from "./clock.ts";
import { reasonOf } from "./errors.ts";
import type { Log } from "./log.ts";

export interface RetentionDeps {
  /** A noun for the deleted rows, for the log's field `rows`. */
  readonly what: string;
  /** Deletes some of the expired rows, few enough that no transaction is long. @returns whether more are left */
  readonly prune: () => Promise<boolean>;
  readonly timers: Timers;
  readonly log: Log;
}

/** Short, so that short-lived processes prune too. */
const FIRST_AFTER_MS = 300_000;
const EVERY_MS = 600_000;

/**
 * Deletes all expired rows, five minutes from now and then every ten minutes.
 *
 * @returns a function that ends this
 */
export function startRetention({ what, prune, timers, log }: RetentionDeps): () => void {
  let isOver = false;
  let cancel = () => {};
  const pruneAll = async () => {
    try {
      while (!isOver && (await prune()));
    } catch (error) {
      if (isOver) return;
      log.warn("expired rows could not be deleted; trying again in ten minutes", {
        rows: what,
        reason: reasonOf(error),
      });
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
