/** A RecordCache of things whose reads the test controls, in time that the test moves. */
import type { ChangeKind } from "../../src/changes/change.ts";
import { DatabaseBreaker } from "../../src/changes/database-breaker.ts";
import { RecordCache, type RecordCacheOptions } from "../../src/changes/record-cache.ts";
import { Turns } from "../support/turns.ts";

interface Thing {
  readonly value: string;
  readonly tags: readonly string[];
}

export function setUp(maxEntries = 10, staleOkMs = 60_000, bytes?: RecordCacheOptions<Thing>["bytes"]) {
  const { clock, timers, turn } = new Turns();
  const feed = { freshAtMs: Number.NEGATIVE_INFINITY, position: 0n, epoch: 7n };
  let isAway = true;
  const breaker = new DatabaseBreaker(clock, timers, async () => {
    if (isAway) throw new Error("away");
  });
  /** The database answers again: the breaker's next probe finds out. */
  const endOutage = async () => {
    isAway = false;
    turn(500);
    await new Promise(setImmediate);
  };
  const cache = new RecordCache<Thing>({
    ...{ clock, feed, breaker, maxEntries, bytes, maxAbsent: 3, staleOkMs },
    kinds: ["KEY", "SERVICE_CREDENTIAL"],
    tagsOf: (thing) => thing.tags,
  });
  const change = (kind: ChangeKind, subjectId: string) => cache.apply({ kind, subjectId });
  let loads = 0;
  const loading =
    (value: string | undefined, ...tags: string[]) =>
    async () => {
      loads++;
      return value === undefined ? undefined : { value, tags };
    };
  return { clock, turn, feed, breaker, endOutage, cache, change, loading, loads: () => loads };
}

/** A load that ends when the test resolves or rejects it. */
export function pending() {
  const { promise, resolve, reject } = Promise.withResolvers<Thing | undefined>();
  return { load: () => promise, resolve, reject };
}
