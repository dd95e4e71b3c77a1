/**
 * Verdicts about kept keys, without a call: by the near cache, and by what users write instead. Prints for each the
 * heap of a key and the time of a verdict. `node --expose-gc near-verdicts.ts KEYS`
 */
import { createHmac, hash, randomBytes } from "node:crypto";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { durationFromMs, timestampFromMs } from "@bufbuild/protobuf/wkt";
import { LRUCache } from "lru-cache";
import { NearCache } from "../../client/src/near/near-cache.ts";
import { Key_State as State } from "../../src/gen/latchkey/v1/key_pb.ts";
import {
  Verdict,
  type VerifyKeyResponse,
  VerifyKeyResponseSchema,
  WatchRevocationsResponseSchema,
} from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { newSecret } from "../../src/keys/key-secret.ts";
import { systemClock as clock } from "../../src/lib/clock.ts";
import { KeyRing } from "../../src/lib/key-ring.ts";
import { AskedKeys, heapUsed } from "./kept-keys.ts";

const KEYS = Number(process.argv[2]);
const VERDICTS = 300_000;
const ROUNDS = 7;
const EPOCH = 1n;
const POSITION = 1n;

const ring = new KeyRing([{ version: 1, bytes: randomBytes(32) }]);
const secret = randomBytes(32).toString("base64");
const near = new NearCache({
  clock,
  random: () => 0.5,
  maxKeys: KEYS,
  maxBytes: Number.POSITIVE_INFINITY,
  maxStalenessMs: 5000,
});
const stream = near.openStream("");
const answers = new LRUCache<string, VerifyKeyResponse>({ max: KEYS, ttl: 3_600_000 });

const keys = Array.from({ length: KEYS }, () => newSecret(ring, { prefix: "kit", environments: ["live"] }, "live"));
const rawKeys = keys.map(({ rawKey }) => Buffer.from(rawKey).toString("latin1"));
const encoded = keys.map(({ keyId }, n) => toBinary(VerifyKeyResponseSchema, answer(keyId, n)));
tell();
const nearBytes = heapOf((rawKey, response) => near.keep(near.begin(), { apiKey: rawKey }, response));
const cachedBytes = heapOf((rawKey, response) => answers.set(rawKey, response));

const requiredScopes = ["orders:read"];
const ways = {
  near: (rawKey: string) => near.judge({ apiKey: rawKey, requiredScopes })?.verdict === "VALID",
  ttlCache: (rawKey: string) => answers.get(rawKey)?.valid === true,
  digest: (rawKey: string) => hash("sha256", secret + rawKey, "base64").length > 0,
  hmac: (rawKey: string) => createHmac("sha256", secret).update(rawKey).digest("base64").length > 0,
};
const asked = new AskedKeys(rawKeys);
/** The rounds of all ways take turns, so that a disturbance affects all of them. */
const rounds = new Map(Object.keys(ways).map((name) => [name, [] as number[]]));
for (let round = 0; round < ROUNDS; round++) {
  for (const [name, verify] of Object.entries(ways)) {
    tell();
    rounds.get(name)!.push(asked.roundUs(VERDICTS, verify));
  }
}
process.stdout.write(JSON.stringify({ nearBytes, cachedBytes, rounds: Object.fromEntries(rounds) }));

/** The bytes a key of a cache that is filled with answers as they come from a socket. */
function heapOf(keep: (rawKey: string, response: VerifyKeyResponse) => void): number {
  const before = heapUsed();
  for (const [n, bytes] of encoded.entries()) {
    keep(Buffer.from(rawKeys[n]!, "latin1").toString("latin1"), fromBinary(VerifyKeyResponseSchema, bytes));
  }
  return (heapUsed() - before) / KEYS;
}

/** A message of the stream, which makes the kept keys fresh. */
function tell(): void {
  const elapsedMs = Math.floor(clock.elapsedMs() - stream.openedAtMs);
  const message = { cursor: "a", epoch: EPOCH, position: POSITION, asOfElapsed: durationFromMs(elapsedMs) };
  near.apply(stream, create(WatchRevocationsResponseSchema, message));
}

/** An answer about a key of ordinary size, with its own owner. */
function answer(keyId: string, n: number): VerifyKeyResponse {
  const scopes = ["orders:read", "orders:write"];
  const owner = `usr_${keyId.slice(4)}`;
  return create(VerifyKeyResponseSchema, {
    valid: true,
    verdict: Verdict.VALID,
    nearRules: 1,
    freshness: { epoch: EPOCH, position: POSITION, age: durationFromMs(0), maxStaleness: durationFromMs(5000) },
    key: {
      ...{ id: keyId, name: `key ${n}`, prefix: "kit_live_abc", ownerId: owner, issuerId: owner, tier: "basic" },
      ...{ environment: "live", state: State.ACTIVE, etag: '"1"', createTime: timestampFromMs(clock.nowMs()) },
      ...{ scopes, effectiveScopes: scopes, effectiveTier: "basic", effectiveLimits: {} },
    },
  });
}
