import type { Timers } from "./clock.ts";
import { reasonOf } from "./errors.ts";
import type { Log } from "./log.ts";

/** Deletes some of the expired rows, few enough that no transaction is long. @returns whether more are left */
type Prune = () => Promise<boolean>;

export interface RetentionDeps {
  /** The deletions, each by a noun for the log's field `rows`. */
  readonly expiring: Readonly<Record<string, Prune>>;
  readonly timers: Timers;
  readonly log: Log;
}

/** Short, so that short-lived processes prune too. */
const FIRST_AFTER_MS = 300_000;
const EVERY_MS = 600_000;
/** Rest between two deletions, in which the database serves calls alone. */
const REST_MS = 50;

/**
 * Deletes all expired rows, five minutes from now and then every ten minutes: one deletion after another, with a rest
 * between them, whatever the number of rows.
 *
 * @returns a function that ends this
 */
export function startRetention({ expiring, timers, log }: RetentionDeps): () => void {
  let isOver = false;
  let cancel = () => {};
  const after = (delayMs: number, run: () => Promise<void>) => {
    if (!isOver) cancel = timers.after(delayMs, () => void run());
  };
  const begin = () => pruneNext(Object.entries(expiring));
  const pruneNext = async (left: readonly (readonly [what: string, prune: Prune])[]): Promise<void> => {
    const [first, ...others] = left;
    if (first === undefined) return after(EVERY_MS, begin);
    const [what, prune] = first;
    const hasMore = await prune().catch((error: unknown) => {
      if (isOver) return false;
      log.warn("expired rows could not be deleted; trying again in ten minutes", {
        rows: what,
        reason: reasonOf(error),
      });
      return false;
    });
    after(REST_MS, () => pruneNext(hasMore ? left : others));
  };
  after(FIRST_AFTER_MS, begin);
  return () => {
    isOver = true;
    cancel();
  };
}
