/**
 * Keeps keys of ordinary size in this process, and prints the memory that each takes and the time of a verdict.
 * `node --expose-gc kept-keys.ts KEEPER KEYS`
 */
import { setImmediate as nextTurn } from "node:timers/promises";
import { LRUCache } from "lru-cache";
import { NearCache } from "../../client/src/near/near-cache.ts";
import type { VerifyKeyResponse } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { systemClock as clock } from "../../src/lib/clock.ts";
import { TTL_CACHE } from "./candidates.ts";
import { goodAnswer, quietMessage, RawKeys } from "./good-keys.ts";

/** What keeps keys in a process of a user. */
interface Keeper {
  keep(rawKey: string, n: number): void;
  /** Called between two parts of a measurement. */
  refresh(): void;
  /** Whether the key is good; undefined if a call would be needed. */
  judge(rawKey: string): boolean | undefined;
}

const KEEPERS: Readonly<Record<string, (keys: number) => Keeper>> = { near, ttl };
const HITS = 200_000;
const ROUNDS = 7;
/** Number of hits that are timed together. */
const PART = 500;

const [name = "", count = ""] = process.argv.slice(2);
const keys = new RawKeys(Number(count));
/** The position in the random order. */
let at = 1;

warmUp();
const before = usedBytes();
const keeper = KEEPERS[name]!(keys.count);
fill(keeper, keys.count);
const heapBytes = (usedBytes() - before) / keys.count;
process.stdout.write(JSON.stringify({ heapBytes, hitUs: await hitUs() }));

/** A first keeper makes what is made once in a process, such as compiled code. Then it is garbage. */
function warmUp(): void {
  fill(KEEPERS[name]!(keys.count), Math.min(keys.count, 2_000));
}

function fill(into: Keeper, count: number): void {
  for (let n = 0; n < count; n++) into.keep(keys.at(n), n);
}

function near(maxKeys: number): Keeper {
  const cache = new NearCache({ clock, random: Math.random, maxKeys, maxBytes: 2 ** 30, maxStalenessMs: 5_000 });
  const attempt = cache.openStream("");
  const refresh = () => void cache.apply(attempt, quietMessage(clock.elapsedMs() - attempt.openedAtMs));
  refresh();
  return {
    keep: (apiKey, n) => cache.keep(cache.begin(), { apiKey }, goodAnswer(apiKey, n)),
    refresh,
    judge: (apiKey) => {
      const judgement = cache.judge({ apiKey });
      return judgement && judgement.verdict === "VALID";
    },
  };
}

/** What users write: the answers as they came, by the raw key. They must outlive this measurement. */
function ttl(max: number): Keeper {
  const answers = new LRUCache<string, VerifyKeyResponse>({ ...TTL_CACHE, max, ttl: 600_000 });
  return {
    keep: (apiKey, n) => void answers.set(apiKey, goodAnswer(apiKey, n)),
    refresh: () => {},
    judge: (apiKey) => answers.get(apiKey)?.valid,
  };
}

/** CPU time of this thread for a hit in the quickest of ROUNDS rounds. */
async function hitUs(): Promise<number> {
  let best = Number.POSITIVE_INFINITY;
  for (let round = 0; round < ROUNDS; round++) {
    let tookUs = 0;
    for (let part = 0; part < HITS / PART; part++) {
      const asked = askedNext();
      keeper.refresh();
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
