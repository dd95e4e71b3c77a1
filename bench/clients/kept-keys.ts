/**
 * Keeps keys of ordinary size in this process, and prints the memory that each takes and the time of a verdict.
 * `node --expose-gc kept-keys.ts KEEPER KEYS`
 */
import { setImmediate as nextTurn } from "node:timers/promises";
import { LRUCache } from "lru-cache";
import { createLatchkey } from "../../client/src/latchkey.ts";
import type { VerifyKeyResponse } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { TTL_CACHE } from "./candidates.ts";
import { CREDENTIAL, goodAnswer, goodService, RawKeys } from "./good-keys.ts";

/** A memory of keys in a program of a user. */
interface Keeper {
  keep(rawKey: string, n: number): Promise<unknown>;
  /** Whether the key is good; undefined if a call is needed. */
  judge(rawKey: string): boolean | undefined;
  close(): Promise<void>;
}

const KEEPERS: Readonly<Record<string, (keys: number) => Promise<Keeper>>> = { near, ttl };
const HITS = 200_000;
const ROUNDS = 7;
/** Number of hits that are timed together. */
const PART = 500;
const WARM_UP_KEYS = 200;
/** Keys that are kept at a time. */
const KEPT_AT_A_TIME = 1_000;

const [name = "", count = ""] = process.argv.slice(2);
const keys = new RawKeys(Number(count));
/** The position in the random order. */
let at = 1;

await warmUp();
const before = usedBytes();
const keeper = await filled(keys.count);
const heapBytes = (usedBytes() - before) / keys.count;
process.stdout.write(JSON.stringify({ heapBytes, hitUs: await hitUs() }));
await keeper.close();

/** A first, small keeper makes what is made once in a process, such as compiled code. */
async function warmUp(): Promise<void> {
  await (await filled(Math.min(keys.count, WARM_UP_KEYS))).close();
}

async function filled(count: number): Promise<Keeper> {
  const keeper = await KEEPERS[name]!(count);
  for (let from = 0; from < count; from += KEPT_AT_A_TIME) {
    const size = Math.min(KEPT_AT_A_TIME, count - from);
    await Promise.all(Array.from({ length: size }, (_, n) => keeper.keep(keys.at(from + n), from + n)));
  }
  return keeper;
}

async function near(maxKeys: number): Promise<Keeper> {
  const options = { transport: goodService(), credential: CREDENTIAL, accessTokens: false } as const;
  const latchkey = createLatchkey({ ...options, deadlineMs: 60_000, near: { maxKeys, maxBytes: 2 ** 30 } });
  await latchkey.ready();
  return {
    keep: (apiKey) => latchkey.verify({ apiKey }),
    judge: (apiKey) => latchkey.verifySync({ apiKey })?.valid,
    close: () => latchkey.close(),
  };
}

/** As users write it: each answer as it came, by the raw key. Here it lives as long as this measurement. */
async function ttl(max: number): Promise<Keeper> {
  const answers = new LRUCache<string, VerifyKeyResponse>({ ...TTL_CACHE, max, ttl: 600_000 });
  return {
    keep: async (apiKey, n) => void answers.set(apiKey, goodAnswer(apiKey, n)),
    judge: (apiKey) => answers.get(apiKey)?.valid,
    close: async () => {},
  };
}

/** CPU time of this thread for a hit in the quickest of ROUNDS rounds. */
async function hitUs(): Promise<number> {
  let best = Number.POSITIVE_INFINITY;
  for (let round = 0; round < ROUNDS; round++) {
    let tookUs = 0;
    for (let part = 0; part < HITS / PART; part++) {
      const asked = askedNext();
      // The stream and its timers have their turns, as in a program that serves requests.
      await nextTurn();
      const startUs = cpuUs();
      for (const rawKey of asked) if (keeper.judge(rawKey) !== true) throw new Error("a kept key is not accepted");
      tookUs += cpuUs() - startUs;
    }
    best = Math.min(best, tookUs / HITS);
  }
  return best;
}

/** Keys in random order, as they come from a socket: new strings whose bytes were just written. */
function askedNext(): readonly string[] {
  return Array.from({ length: PART }, () => {
    // A linear congruential generator: quick, and random enough.
    at = (Math.imul(at, 1_103_515_245) + 12_345) & 0x7fff_ffff;
    return keys.at(at % keys.count);
  });
}

function cpuUs(): number {
  const { user, system } = process.threadCpuUsage();
  return user + system;
}

function usedBytes(): number {
  globalThis.gc!();
  globalThis.gc!();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}
