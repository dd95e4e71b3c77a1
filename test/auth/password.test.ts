import { randomBytes } from "node:crypto";
import { hash as argon2Hash, argon2id } from "argon2";
import { describe, expect, it } from "vitest";
import type { HashCaller } from "../../src/auth/passwords/hash-turns.ts";
import { hashConcurrency, PasswordHasher } from "../../src/auth/passwords/password.ts";
import type { DomainError } from "../../src/lib/errors.ts";
import { KeyRing } from "../../src/lib/key-ring.ts";
import { PASSWORD } from "../support/clients.ts";
import { occupyHash } from "../support/people.ts";
import { recordingLog } from "../support/recording-log.ts";

const oldKey = { version: 1, bytes: randomBytes(32) };
const ring = new KeyRing([oldKey]);

function newHasher(more: Partial<ConstructorParameters<typeof PasswordHasher>[0]> = {}) {
  return new PasswordHasher({ ring, log: recordingLog(), memoryKib: 1024, passes: 2, concurrency: 1, ...more });
}

describe("a stored password", () => {
  it("matches itself and no other text", async () => {
    const hasher = newHasher();
    const stored = await hasher.hash(PASSWORD);
    expect(stored).toMatch(/^1\$argon2id\$v=19\$/);
    expect(await hasher.hash(PASSWORD)).not.toBe(stored);
    expect(await hasher.matches(stored, PASSWORD)).toBe(true);
    expect(await hasher.matches(stored, `${PASSWORD} `)).toBe(false);
    expect(await hasher.matches(stored, PASSWORD.toUpperCase())).toBe(false);
  });

  it("matches its other Unicode normal form", async () => {
    const hasher = newHasher();
    const stored = await hasher.hash("caf\u00e9 noir et tarte");
    expect(await hasher.matches(stored, "cafe\u0301 noir et tarte")).toBe(true);
  });

  it("does not match under another master key, so a dump alone can't be used to guess", async () => {
    const stored = await newHasher().hash(PASSWORD);
    const other = newHasher({ ring: new KeyRing([{ version: 1, bytes: randomBytes(32) }]) });
    expect(await other.matches(stored, PASSWORD)).toBe(false);
  });

  it("still matches after the master key was rotated, and needs a new hash", async () => {
    const stored = await newHasher().hash(PASSWORD);
    const rotated = newHasher({ ring: new KeyRing([{ version: 2, bytes: randomBytes(32) }, oldKey]) });
    expect(await rotated.matches(stored, PASSWORD)).toBe(true);
    expect(rotated.needsRehash(stored)).toBe(true);
    expect(newHasher().needsRehash(stored)).toBe(false);
    // A process that still has the old order of the ring does not turn it back.
    const turnedBack = newHasher({ ring: new KeyRing([oldKey, { version: 2, bytes: randomBytes(32) }]) });
    expect(turnedBack.needsRehash(await rotated.hash(PASSWORD))).toBe(false);
  });

  it("causes MASTER_KEY_MISSING, not a wrong password, if the ring lacks its version", async () => {
    const stored = await newHasher().hash(PASSWORD);
    const lacking = newHasher({ ring: new KeyRing([{ version: 2, bytes: randomBytes(32) }]) });
    await expect(lacking.matches(stored, PASSWORD)).rejects.toMatchObject({ reason: "MASTER_KEY_MISSING" });
  });

  it("needs a new hash if the parameters rise, and none if they fall", async () => {
    const stored = await newHasher({ memoryKib: 2048, passes: 3 }).hash(PASSWORD);
    expect(newHasher({ memoryKib: 4096, passes: 3 }).needsRehash(stored)).toBe(true);
    expect(newHasher({ memoryKib: 2048, passes: 4 }).needsRehash(stored)).toBe(true);
    expect(newHasher({ memoryKib: 1024, passes: 2 }).needsRehash(stored)).toBe(false);
  });

  it.each([
    ["empty", ""],
    ["cut off", "1$argon2id$v=19$m=1024,p=1,t=2$"],
    ["of no version", "$argon2id$v=19$m=1024,p=1,t=2$c29tZXNhbHQ$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNo"],
    ["of another algorithm", "1$2b$12$abcdefghijklmnopqrstuuAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"],
    ["argon2i", "1$argon2i$v=19$m=1024,p=1,t=2$c29tZXNhbHQ$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNo"],
    ["without passes", "1$argon2id$v=19$m=1024,p=1,p=1$c29tZXNhbHQ$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNo"],
    ["of too much work", "1$argon2id$v=19$m=1024,p=1,t=9999999$c29tZXNhbHQ$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNo"],
  ])("that is corrupt (%s) is logged as an error, costs one hash, and does not match", async (_what, stored) => {
    const log = recordingLog();
    const hasher = newHasher({ log });
    expect(await hasher.matches(stored, PASSWORD)).toBe(false);
    expect(hasher.hashes).toBe(1);
    expect(log.lines).toEqual([expect.objectContaining({ level: "error" })]);
  });

  it("may have its parameters in any order", async () => {
    const phc = await argon2Hash(PASSWORD, {
      type: argon2id,
      memoryCost: 1024,
      timeCost: 2,
      parallelism: 1,
      secret: ring.currentKey("password-secret"),
    });
    const reordered = phc.replace(/\$m=1024,[^$]*\$/, "$t=2,m=1024,p=1$");
    expect(reordered).not.toBe(phc);
    expect(await newHasher().matches(`1${reordered}`, PASSWORD)).toBe(true);
  });
});

const ALONE: HashCaller = { networks: [], isDoubtful: false, isKnown: false };

const callerOf = (network: string, more: Partial<HashCaller> = {}): HashCaller => ({
  networks: [network],
  isDoubtful: false,
  isKnown: false,
  ...more,
});

/** Judges a password in a turn of its own, as a login does. */
async function matches(
  hasher: PasswordHasher,
  {
    stored,
    password = PASSWORD,
    signal,
  }: { stored?: string | undefined; password?: string; signal?: AbortSignal } = {},
): Promise<boolean> {
  using turns = hasher.turnsOf(ALONE, signal);
  return await turns.hash(() => hasher.matches(stored, password));
}

describe("the number of hashes", () => {
  it("is one for each judgement, even if no password is stored", async () => {
    const hasher = newHasher();
    const stored = await hasher.hash(PASSWORD);
    for (const [kept, tried] of [
      [stored, PASSWORD],
      [stored, "wrong"],
      [undefined, PASSWORD],
    ] as const) {
      const before = hasher.hashes;
      await matches(hasher, { stored: kept, password: tried });
      expect(hasher.hashes - before).toBe(1);
    }
  });

  it("that run at once is bounded, and waiting calls are served in order", async () => {
    const hasher = newHasher({ concurrency: 2, maxWaitMs: 60_000 });
    const served: number[] = [];
    await Promise.all(
      Array.from({ length: 20 }, async (_, i) => {
        await matches(hasher);
        served.push(i);
        // Only hashes that have ended, and the two that run, have begun.
        expect(hasher.hashes).toBeLessThanOrEqual(served.length + 2);
      }),
    );
    expect(served.toSorted((a, b) => a - b)).toEqual(served.map((_, i) => i));
    expect(hasher.hashes).toBe(20);
  });

  it("does not grow by a call beyond the queue, which is refused at once with a time to wait", async () => {
    const hasher = newHasher({ concurrency: 1, maxQueue: 2, maxWaitMs: 60_000 });
    const admitted = [1, 2, 3].map(() => matches(hasher));
    await expect(matches(hasher)).rejects.toMatchObject({
      reason: "OVERLOADED",
      retryAfterMs: expect.any(Number),
    });
    expect(hasher.turns.hashing.waiting).toBe(2);
    expect(await Promise.all(admitted)).toEqual([false, false, false]);
    expect(hasher.hashes).toBe(3);
    expect(hasher.turns.refused).toBe(1);
    const { counts, sum } = hasher.turns.waitSeconds;
    expect(counts.reduce((a, b) => a + b)).toBe(3);
    expect(sum).toBeGreaterThan(0);
  });

  it("does not grow by a call that waited too long, which is refused and leaves its place in the queue", async () => {
    const hasher = newHasher({ concurrency: 1, maxQueue: 1, maxWaitMs: 1, memoryKib: 65_536, passes: 4 });
    const running = matches(hasher);
    await expect(matches(hasher)).rejects.toMatchObject({ reason: "OVERLOADED" });
    await running;
    expect(hasher.hashes).toBe(1);
    expect(hasher.turns.refused).toBe(1);
    expect(await matches(hasher)).toBe(false);
  });

  it("is bounded in time too: the wait for the first turn is measured from the begin of the call", async () => {
    const hasty = newHasher({ concurrency: 1, maxQueue: 1, maxWaitMs: 20, memoryKib: 65_536, passes: 4 });
    using late = hasty.turnsOf(callerOf("a"));
    const running = matches(hasty);
    await expect(late.hash(() => hasty.hash(PASSWORD))).rejects.toMatchObject({ reason: "OVERLOADED" });
    await running;
    // A late call gets a turn that is free at once.
    expect(await late.hash(() => hasty.matches(undefined, PASSWORD))).toBe(false);
    expect(await late.hash(() => hasty.matches(undefined, PASSWORD))).toBe(false);
  });

  it("does not grow by a call that was aborted, which leaves its place in the queue", async () => {
    const hasher = newHasher({ concurrency: 1, maxWaitMs: 60_000 });
    const gone = new AbortController();
    const running = matches(hasher);
    const waiting = matches(hasher, { signal: gone.signal });
    gone.abort();
    await expect(waiting).rejects.toMatchObject({ reason: "CANCELLED" });
    await expect(matches(hasher, { signal: gone.signal })).rejects.toMatchObject({ reason: "CANCELLED" });
    await running;
    expect(hasher.hashes).toBe(1);
  });

  it("that may run is not reduced by a hash that fails", async () => {
    const stored = await newHasher().hash(PASSWORD);
    const hasher = newHasher({ ring: new KeyRing([{ version: 2, bytes: randomBytes(32) }]) });
    await expect(matches(hasher, { stored })).rejects.toThrow();
    expect(await matches(hasher)).toBe(false);
  });

  it.each([
    [1, 1, 1],
    [2, 1, 1],
    [4, 1, 3],
    [16, 1, 3],
    [16, 5, 3],
    [16, 8, 1],
    [4, 4, 1],
  ])("on %i cores with %i workers is at most %i at once in each", (cores, workers, expected) => {
    expect(hashConcurrency(cores, workers)).toBe(expected);
  });
});

describe("a busy hasher", () => {
  /** A hasher whose only place is occupied until `release`. */
  async function busyHasher(maxQueue: number) {
    const hasher = newHasher({ concurrency: 1, maxQueue, maxWaitMs: 60_000 });
    const occupied = occupyHash(hasher);
    const ended: string[] = [];
    /** Waits for a hash. @returns settles when it was computed or refused */
    const want = async (name: string, caller: HashCaller) => {
      using turns = hasher.turnsOf(caller);
      const said = await turns
        .hash(() => hasher.hash(PASSWORD))
        .then(
          () => "",
          (error: DomainError) => ` ${error.reason}`,
        );
      ended.push(`${name}${said}`);
    };
    return { hasher, ended, want, release: () => occupied.free() };
  }

  it("serves networks in turn, even if one of them sent many calls first", async () => {
    const { ended, want, release } = await busyHasher(10);
    const crowd = ["crowd 1", "crowd 2", "crowd 3"].map((name) => want(name, callerOf("crowd")));
    const single = want("single", callerOf("single"));
    await release();
    await Promise.all([...crowd, single]);
    expect(ended).toEqual(["crowd 1", "single", "crowd 2", "crowd 3"]);
  });

  it("makes the network with the most waiting calls give way if the queue is full", async () => {
    const { ended, want, release } = await busyHasher(3);
    const crowd = ["crowd 1", "crowd 2", "crowd 3", "crowd 4"].map((name) => want(name, callerOf("crowd")));
    const single = want("single", callerOf("single"));
    await release();
    await Promise.all([...crowd, single]);
    expect(ended.toSorted()).toEqual(["crowd 1 OVERLOADED", "crowd 2", "crowd 3", "crowd 4 OVERLOADED", "single"]);
  });

  it("gives known callers half of the queue and every second turn while they ask for them", async () => {
    const { ended, want, release } = await busyHasher(4);
    const strangers = [1, 2, 3, 4].map((n) => want(`stranger ${n}`, callerOf(`network ${n}`)));
    const known = [1, 2].map((n) => want(`known ${n}`, callerOf(`home ${n}`, { isKnown: true })));
    await release();
    await Promise.all([...strangers, ...known]);
    const made = ended.filter((each) => !each.includes("OVERLOADED"));
    // The hash that ran before was an unknown caller's.
    expect(made.map((each) => each.split(" ")[0])).toEqual(["known", "stranger", "known", "stranger"]);
    expect(ended).toHaveLength(6);
  });

  it("still judges calls: four at once, of which two may be of one network and one doubtful", async () => {
    const { hasher, release } = await busyHasher(10);
    const judged: string[] = [];
    const { promise: isOver, resolve: end } = Promise.withResolvers<void>();
    const judge = (name: string, caller: HashCaller) => {
      using turns = hasher.turnsOf(caller);
      return turns.judge(() => {
        judged.push(name);
        return isOver;
      });
    };
    const doubtful = ["x", "y"].map((name) => judge(name, callerOf(name, { isDoubtful: true })));
    const calls = ["a", "a", "a", "b", "c"].map((name) => judge(name, callerOf(name)));
    await Promise.resolve();
    expect(judged).toEqual(["x", "a", "a", "b"]);
    end();
    await Promise.all([...doubtful, ...calls]);
    expect(judged.toSorted()).toEqual(["a", "a", "a", "b", "c", "x", "y"]);
    await release();
  });
});
