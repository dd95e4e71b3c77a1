import { describe, expect, it } from "vitest";
import { ChangeBus } from "../../src/changes/change.ts";
import { DatabaseBreaker } from "../../src/changes/database-breaker.ts";
import { DatabaseClock } from "../../src/changes/database-clock.ts";
import { KeyRecords } from "../../src/keys/key-records.ts";
import { format, keyWithSecrets, ring, SAMPLE_KEYS, type SampleKey, tiers } from "../simulation/sample-keys.ts";
import { recordingLog } from "../support/recording-log.ts";
import { Turns } from "../support/turns.ts";

const ACTIVE = { state: "active", version: 1 } as const;
const REVOKED = { state: "disabled", version: 2 } as const;

function setUp() {
  const { clock, timers } = new Turns();
  const feed = { freshAtMs: Number.NEGATIVE_INFINITY, position: 0n, epoch: 7n };
  const breaker = new DatabaseBreaker(clock, timers, () => new Promise(() => {}));
  const databaseClock = new DatabaseClock(clock);
  const bus = new ChangeBus();
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
  const records = new KeyRecords({
    store,
    bus,
    feed,
    breaker,
    ring,
    rehasher: { matched: () => {} },
    tiers,
    clock,
    databaseClock,
    log: recordingLog(),
    maxRecords: 10,
    staleOkMs: 0,
  });
  return { bus, breaker, reads, records };
}

describe("a batch of keys", () => {
  it("is read by one statement, and each key once", async () => {
    const { reads, records } = setUp();
    const [one, two] = SAMPLE_KEYS as [SampleKey, SampleKey];
    const early = records.find(one.rawKey, one.keyId);
    const found = records.findAll([one, two, two]);
    expect(reads.map(({ keyIds }) => keyIds)).toEqual([[one.keyId], [two.keyId]]);
    for (const { answer } of reads) answer(ACTIVE);
    const ids = (await found).map((each) => each.status === "fulfilled" && each.value.record?.key.id);
    expect(ids).toEqual([one.keyId, two.keyId, two.keyId]);
    expect((await early).record?.key.id).toBe(one.keyId);
    expect((await records.findAll([one, two])).map(({ status }) => status)).toEqual(["fulfilled", "fulfilled"]);
    expect(reads).toHaveLength(2);
  });

  it("is answered at once, without a read, while the breaker is open", async () => {
    const { breaker, reads, records } = setUp();
    breaker.failed();
    const found = await records.findAll(SAMPLE_KEYS.slice(0, 2));
    expect(found.map(({ status }) => status)).toEqual(["rejected", "rejected"]);
    expect(reads).toHaveLength(0);
  });

  it("is read again, each key by its own statement, if the history changed meanwhile", async () => {
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
});
