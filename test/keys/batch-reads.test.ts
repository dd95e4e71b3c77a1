/** Several keys that one statement reads. */
import { expect, it } from "vitest";
import { ChangeBus } from "../../src/changes/change.ts";
import { DatabaseBreaker } from "../../src/changes/database-breaker.ts";
import { DatabaseClock } from "../../src/changes/database-clock.ts";
import { RecordCache } from "../../src/changes/record-cache.ts";
import { KEY_KINDS, type KeyLimits, type KeyRecord, KeyRecords, tagsOf } from "../../src/keys/key-records.ts";
import { format, keyWithSecrets, ring, SAMPLE_KEYS, tiers } from "../simulation/sample-keys.ts";
import { recordingLog } from "../support/recording-log.ts";
import { Turns } from "../support/turns.ts";

const ACTIVE = { state: "active", version: 1 } as const;
const REVOKED = { state: "disabled", version: 2 } as const;

function setUp() {
  const { clock, timers } = new Turns();
  const feed = { freshAtMs: Number.NEGATIVE_INFINITY, position: 0n };
  const breaker = new DatabaseBreaker(clock, timers, () => new Promise(() => {}));
  const databaseClock = new DatabaseClock(clock);
  const copies = { clock, feed, breaker, maxEntries: 10, maxAbsent: 10, staleOkMs: 0, kinds: KEY_KINDS, tagsOf };
  const cache = new RecordCache<KeyRecord>(copies);
  const bus = new ChangeBus();
  bus.add(cache);
  const reads: {
    readonly keyIds: readonly string[];
    readonly answer: (row: typeof ACTIVE | typeof REVOKED) => void;
  }[] = [];
  const store = {
    read: (keyIds: readonly string[]) => {
      const { promise, resolve } = Promise.withResolvers<Awaited<ReturnType<KeyRecords["findAll"]>> | unknown>();
      const answer = (row: typeof ACTIVE | typeof REVOKED) => {
        const samples = SAMPLE_KEYS.filter(({ keyId }) => keyIds.includes(keyId));
        resolve({ keys: samples.map((sample) => keyWithSecrets(sample, row, ACTIVE)), databaseMs: clock.nowMs() });
      };
      reads.push({ keyIds, answer });
      return promise as never;
    },
  };
  const limitsCache = new RecordCache<KeyLimits>(copies);
  const deps = { store, cache, limitsCache, ring, rehasher: { matched: () => {} }, tiers, clock, databaseClock };
  return { bus, reads, records: new KeyRecords({ ...deps, log: recordingLog() }) };
}

it("one statement reads a batch; after the history changed, each key is read again by its own statement", async () => {
  expect(format.prefix).toBe("kit");
  const { bus, reads, records } = setUp();
  const two = SAMPLE_KEYS.slice(0, 2);
  const found = records.findAll(two);
  expect(reads.map(({ keyIds }) => keyIds)).toEqual([two.map(({ keyId }) => keyId)]);
  bus.clear();
  reads[0]!.answer(ACTIVE);
  await expect.poll(() => reads.length).toBe(3);
  for (const { answer } of reads.slice(1)) answer(REVOKED);
  const states = (await found).map((each) => each.status === "fulfilled" && each.value.record?.key.state);
  expect(states).toEqual(["disabled", "disabled"]);
});
