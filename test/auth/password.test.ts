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
  it("matches itself and nothing else", async () => {
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

  it("does not match under another master secret: a dump alone can't be guessed at", async () => {
    const stored = await newHasher().hash(PASSWORD);
    const other = newHasher({ ring: new KeyRing([{ version: 1, bytes: randomBytes(32) }]) });
    expect(await other.matches(stored, PASSWORD)).toBe(false);
  });

  it("still matches after the master secret was rotated, and wants to be hashed anew", async () => {
    const stored = await newHasher().hash(PASSWORD);
    const rotated = newHasher({ ring: new KeyRing([{ version: 2, bytes: randomBytes(32) }, oldKey]) });
    expect(await rotated.matches(stored, PASSWORD)).toBe(true);
    expect(rotated.needsRehash(stored)).toBe(true);
    expect(newHasher().needsRehash(stored)).toBe(false);
    // Nor back again, where a process has the rings in the old order still.
    const turnedBack = newHasher({ ring: new KeyRing([oldKey, { version: 2, bytes: randomBytes(32) }]) });
    expect(turnedBack.needsRehash(await rotated.hash(PASSWORD))).toBe(false);
  });

  it("is an internal fault, not a wrong password, when the ring lacks its version", async () => {
    const stored = await newHasher().hash(PASSWORD);
    const lacking = newHasher({ ring: new KeyRing([{ version: 2, bytes: randomBytes(32) }]) });
    await expect(lacking.matches(stored, PASSWORD)).rejects.toMatchObject({ reason: "MASTER_KEY_MISSING" });
  });

  it("wants to be hashed anew when the parameters rise, and not when they fall", async () => {
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
  ])("that is corrupt (%s) is an error in the log, costs one hash, and is no login", async (_what, stored) => {
    const log = recordingLog();
    const hasher = newHasher({ log });
    expect(await hasher.matches(stored, PASSWORD)).toBe(false);
    expect(hasher.hashes).toBe(1);
    expect(log.lines).toEqual([expect.objectContaining({ level: "error" })]);
  });

  it("is read whatever the order of its parameters", async () => {
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

describe("hashes are bounded:", () => {
  it("each judgement costs exactly one, also where nothing is stored", async () => {
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

  it("never more run at once than allowed, and all that may wait are served in order", async () => {
    const hasher = newHasher({ concurrency: 2, maxWaitMs: 60_000 });
    const served: number[] = [];
    await Promise.all(
      Array.from({ length: 20 }, async (_, i) => {
        await matches(hasher);
        served.push(i);
        // Those who have their answer, and the two that run, are all that ever began.
        expect(hasher.hashes).toBeLessThanOrEqual(served.length + 2);
      }),
    );
    expect(served.toSorted((a, b) => a - b)).toEqual(served.map((_, i) => i));
    expect(hasher.hashes).toBe(20);
  });

  it("beyond the queue a call is refused at once with a time to wait, and costs no hash", async () => {
    const hasher = newHasher({ concurrency: 1, maxQueue: 2, maxWaitMs: 60_000 });
    const admitted = [1, 2, 3].map(() => matches(hasher));
    await expect(matches(hasher)).rejects.toMatchObject({
      reason: "OVERLOADED",
      retryAfterMs: expect.any(Number),
    });
    expect(await Promise.all(admitted)).toEqual([false, false, false]);
    expect(hasher.hashes).toBe(3);
  });

  it("who waited too long is refused, costs no hash, and leaves the queue to others", async () => {
    const hasher = newHasher({ concurrency: 1, maxQueue: 1, maxWaitMs: 1, memoryKib: 65_536, passes: 4 });
    const running = matches(hasher);
    await expect(matches(hasher)).rejects.toMatchObject({ reason: "OVERLOADED" });
    await running;
    expect(hasher.hashes).toBe(1);
    expect(await matches(hasher)).toBe(false);
  });

  it("time before a turn counts, and a second turn is waited for as long again", async () => {
    const hasty = newHasher({ concurrency: 1, maxQueue: 1, maxWaitMs: 20, memoryKib: 65_536, passes: 4 });
    using late = hasty.turnsOf(callerOf("a"));
    const running = matches(hasty);
    await expect(late.hash(() => hasty.hash(PASSWORD))).rejects.toMatchObject({ reason: "OVERLOADED" });
    await running;
    // A call whose turn is there at once has it, however late.
    expect(await late.hash(() => hasty.matches(undefined, PASSWORD))).toBe(false);
    expect(await late.hash(() => hasty.matches(undefined, PASSWORD))).toBe(false);
  });

  it("a caller that is gone leaves the queue and costs no hash", async () => {
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

  it("a hash that fails gives its place back", async () => {
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
  ])("%i cores and %i workers run %i at once in each", (cores, workers, expected) => {
    expect(hashConcurrency(cores, workers)).toBe(expected);
  });
});

describe("hashes are shared by network:", () => {
  /** A hasher whose one turn is taken until `release`. */
  async function busyHasher(maxQueue: number) {
    const hasher = newHasher({ concurrency: 1, maxQueue, maxWaitMs: 60_000 });
    const occupied = occupyHash(hasher);
    const ended: string[] = [];
    /** Waits for a hash. @returns settles when it was made, or refused */
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

  it("networks have their hashes in turn, however many calls one of them sent first", async () => {
    const { ended, want, release } = await busyHasher(10);
    const crowd = ["crowd 1", "crowd 2", "crowd 3"].map((name) => want(name, callerOf("crowd")));
    const single = want("single", callerOf("single"));
    await release();
    await Promise.all([...crowd, single]);
    expect(ended).toEqual(["crowd 1", "single", "crowd 2", "crowd 3"]);
  });

  it("the network with the most waiting calls gives way to another one where the queue is full", async () => {
    const { ended, want, release } = await busyHasher(3);
    const crowd = ["crowd 1", "crowd 2", "crowd 3", "crowd 4"].map((name) => want(name, callerOf("crowd")));
    const single = want("single", callerOf("single"));
    await release();
    await Promise.all([...crowd, single]);
    expect(ended.toSorted()).toEqual(["crowd 1 OVERLOADED", "crowd 2", "crowd 3", "crowd 4 OVERLOADED", "single"]);
  });

  it("half of the places and every second turn are known callers' while they ask for them", async () => {
    const { ended, want, release } = await busyHasher(4);
    const strangers = [1, 2, 3, 4].map((n) => want(`stranger ${n}`, callerOf(`network ${n}`)));
    const known = [1, 2].map((n) => want(`known ${n}`, callerOf(`home ${n}`, { isKnown: true })));
    await release();
    await Promise.all([...strangers, ...known]);
    const made = ended.filter((each) => !each.includes("OVERLOADED"));
    // The one that ran was a stranger's.
    expect(made.map((each) => each.split(" ")[0])).toEqual(["known", "stranger", "known", "stranger"]);
    expect(ended).toHaveLength(6);
  });

  it("calls are judged two of one network and four in all at a time, doubtful ones one at a time, and take no hash's place", async () => {
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
