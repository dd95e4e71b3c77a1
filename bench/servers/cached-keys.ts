/**
 * Fills the cache of key records as a service would, from rows in the form of PostgreSQL's driver. Prints the memory of
 * a key and the time of a hit. `node --expose-gc cached-keys.ts KEYS`
 */
import { randomBytes } from "node:crypto";
import { ChangeBus } from "../../src/changes/change.ts";
import { DatabaseBreaker } from "../../src/changes/database-breaker.ts";
import { DatabaseClock } from "../../src/changes/database-clock.ts";
import { KeyRecords } from "../../src/keys/key-records.ts";
import { newSecret } from "../../src/keys/key-secret.ts";
import type { KeyWithSecrets } from "../../src/keys/key-store.ts";
import { Tiers } from "../../src/keys/tiers.ts";
import { INVALID_BY_FORM } from "../../src/keys/verdict.ts";
import { systemClock as clock, systemTimers } from "../../src/lib/clock.ts";
import { KeyRing } from "../../src/lib/key-ring.ts";
import { toKeysWithSecrets } from "../../src/postgres/rows/key-rows.ts";
import { VerdictEncoder } from "../../src/rpc/handlers/verdict-encoding.ts";

const KEYS = Number(process.argv[2]);
const HITS = 300_000;
const ROUNDS = 5;
/** Number of hits that are timed together. */
const PART = 500;
/** The position in the random order. */
let at = 1;
/** Bytes of a key that this file itself keeps: 74 characters, the string's head, and its place in the list. */
const RAW_KEY_BYTES = 74 + 6 + 16 + 8;

const ring = new KeyRing([{ version: 1, bytes: randomBytes(32) }]);
const tiers = new Tiers([{ name: "basic", perMinute: 20, perDay: 1000 }]);
const databaseClock = new DatabaseClock(clock);
const encoder = new VerdictEncoder({ tiers, databaseClock, clock });
const feed = {
  get freshAtMs() {
    return clock.monotonicMs();
  },
  position: 1n,
  epoch: 1n,
};
let stored: KeyWithSecrets | undefined;
const records = new KeyRecords({
  store: { read: async () => ({ keys: [stored!], databaseMs: Date.now() }) },
  bus: new ChangeBus(),
  feed,
  breaker: new DatabaseBreaker(clock, systemTimers, () => new Promise(() => {})),
  ring,
  rehasher: { matched() {} },
  tiers,
  clock,
  databaseClock,
  log: { info() {}, warn() {}, error() {}, flush() {} },
  maxRecords: KEYS,
  staleOkMs: 0,
});

const rawKeys: string[] = new Array<string>(KEYS);
const before = heapUsed();
for (let n = 0; n < KEYS; n++) rawKeys[n] = await fill(n);
const heapBytes = (heapUsed() - before) / KEYS - RAW_KEY_BYTES;
process.stdout.write(JSON.stringify({ heapBytes, hitUs: hitUs() }));

/** Makes a key, and has its record read, kept and encoded. Returns the raw key. */
async function fill(n: number): Promise<string> {
  const { keyId, rawKey, displayPrefix, secret } = newSecret(ring, { prefix: "kit", environments: ["live"] }, "live");
  const owner = `usr_${keyId.slice(4)}`;
  const row = {
    ...{ id: keyId, kind: "api", environment: "live", name: `key ${n}`, description: "", prefix: displayPrefix },
    ...{ owner_id: owner, issuer_id: owner, tier: "basic", scopes: ["orders:read", "orders:write"], metadata: {} },
    ...{ allowed_ips: [], allowed_methods: [], certificate_names: [], limit_per_minute: null, limit_per_day: null },
    ...{ state: "active", disabled_by: null, service_controlled: false, version: 1, created_ms: Date.now() },
    ...{ expires_ms: null, revoked_ms: null, used_ms: null },
    ...{ owner_state: "active", owner_tier: "basic", owner_scopes: ["*"] },
    secrets: JSON.stringify([[secret.digest.toString("hex"), 1, null]]),
  };
  // The row goes through text, so that it shares no string that a driver would not share.
  stored = toKeysWithSecrets([JSON.parse(JSON.stringify(row))]).get(keyId);
  const { record } = await records.find(rawKey, keyId);
  encoder.encode({ ...INVALID_BY_FORM, verdict: "valid", record });
  return Buffer.from(rawKey).toString("latin1");
}

/** The time of a hit in the quickest of ROUNDS rounds, because time that other processes take is no cost of ours. */
function hitUs(): number {
  let best = Number.POSITIVE_INFINITY;
  for (let round = 0; round < ROUNDS; round++) {
    let tookMs = 0;
    for (let part = 0; part < HITS / PART; part++) {
      const asked = askedNext();
      const startMs = performance.now();
      for (const rawKey of asked)
        if (records.fresh(rawKey) === undefined) throw new Error("a key that was kept is not there");
      tookMs += performance.now() - startMs;
    }
    best = Math.min(best, (tookMs * 1000) / HITS);
  }
  return best;
}

/** Keys in random order, as they come from a socket: new strings whose bytes were just written. */
function askedNext(): readonly string[] {
  return Array.from({ length: PART }, () => {
    // A linear congruential generator: quick, and random enough.
    at = (Math.imul(at, 1_103_515_245) + 12_345) & 0x7fff_ffff;
    return Buffer.from(rawKeys[at % KEYS]!, "latin1").toString("latin1");
  });
}

function heapUsed(): number {
  globalThis.gc!();
  return process.memoryUsage().heapUsed;
}
