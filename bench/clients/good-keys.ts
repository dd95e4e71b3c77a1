/** Keys in any number and the service's answers about them, made here: a service would take minutes to issue so many. */
import { randomBytes } from "node:crypto";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { type Timestamp, timestampNow } from "@bufbuild/protobuf/wkt";
import { Key_State as State } from "../../src/gen/latchkey/v1/key_pb.ts";
import {
  Freshness_Source as Source,
  Verdict,
  type VerifyKeyResponse,
  VerifyKeyResponseSchema,
  WatchRevocationsResponseSchema,
} from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { newSecret } from "../../src/keys/key-secret.ts";
import { KeyRing } from "../../src/lib/key-ring.ts";

const RING = new KeyRing([{ version: 1, bytes: randomBytes(32) }]);
const FORM = { prefix: "kit", environments: ["live"] };
const [EPOCH, POSITION] = [7n, 1_000n];
const START_ID = 4;

/** Raw keys outside of JavaScript's heap, so that a measurement of the heap does not count them. */
export class RawKeys {
  readonly count: number;
  readonly #bytes: Buffer;
  readonly #length: number;

  constructor(count: number) {
    const make = () => newSecret(RING, FORM, "live").rawKey;
    this.count = count;
    this.#length = make().length;
    this.#bytes = Buffer.alloc(count * this.#length);
    for (let n = 0; n < count; n++) this.#bytes.write(make(), n * this.#length, "latin1");
  }

  /** A new string, as a request brings one. */
  at(n: number): string {
    return this.#bytes.toString("latin1", n * this.#length, (n + 1) * this.#length);
  }
}

/** The answer about a key of ordinary size: a name, two scopes, no limits. Decoded from bytes, as from the wire. */
export function goodAnswer(rawKey: string, n: number): VerifyKeyResponse {
  const now = timestampNow();
  const id = rawKey.split("_")[2]!.slice(0, 16);
  const owner = `usr_${id.split("").reverse().join("")}`;
  const scopes = ["orders:read", "orders:write"];
  const answer = create(VerifyKeyResponseSchema, {
    valid: true,
    verdict: Verdict.VALID,
    nearRules: 1,
    freshness: {
      ...{ source: Source.CACHE, epoch: EPOCH, position: POSITION, asOfTime: now, serveTime: now },
      ...{ maxStaleness: { seconds: 5n }, age: { nanos: 10_000_000 } },
    },
    key: {
      ...{ id: `key_${id}`, name: `key ${n}`, prefix: rawKey.slice(0, rawKey.indexOf("_", START_ID) + 9) },
      ...{
        ownerId: owner,
        issuerId: owner,
        tier: "pro",
        scopes,
        state: State.ACTIVE,
        environment: "live",
        etag: '"1"',
      },
      ...{ createTime: now, lastUseTime: now, effectiveLimits: {}, effectiveScopes: scopes, effectiveTier: "pro" },
    },
  });
  return fromBinary(VerifyKeyResponseSchema, toBinary(VerifyKeyResponseSchema, answer));
}

/** A message of a stream of changes that was opened `elapsedMs` ago. Nothing has changed, and everything is known. */
export function quietMessage(elapsedMs: number, now: Timestamp = timestampNow()) {
  const asOfElapsed = {
    seconds: BigInt(Math.floor(elapsedMs / 1000)),
    nanos: Math.floor(elapsedMs % 1000) * 1_000_000,
  };
  const state = { cursor: "here", position: POSITION, epoch: EPOCH, asOfTime: now, serveTime: now, asOfElapsed };
  return create(WatchRevocationsResponseSchema, state);
}
