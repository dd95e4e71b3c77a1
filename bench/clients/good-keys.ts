/**
 * Keys in any number, and a service in this process that finds them all good: a real one would take minutes to issue so
 * many.
 */
import { randomBytes } from "node:crypto";
import { setTimeout as pause } from "node:timers/promises";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { timestampNow } from "@bufbuild/protobuf/wkt";
import { createRouterTransport, type Transport } from "@connectrpc/connect";
import { Key_State as State } from "../../src/gen/latchkey/v1/key_pb.ts";
import {
  KeyService,
  Freshness_Source as Source,
  Verdict,
  type VerifyKeyResponse,
  VerifyKeyResponseSchema,
} from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { keyFormOf } from "../../src/keys/key-form.ts";
import { newSecret } from "../../src/keys/key-secret.ts";
import { KeyRing } from "../../src/lib/key-ring.ts";

const RING = new KeyRing([{ version: 1, bytes: randomBytes(32) }]);
const FORM = { prefix: "kit", environments: ["live"] };
/** A credential that the service takes. */
export const CREDENTIAL = newSecret(RING, FORM, "svc").rawKey;
const [EPOCH, POSITION] = [7n, 1_000n];
/** Time between two messages of the stream, as a service sends them. */
const EVERY_MS = 1_000;

/** Characters of a raw key that its owner sees again. */
const SHOWN_LENGTH = 12;

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
      ...{ id: `key_${id}`, name: `key ${n}`, prefix: rawKey.slice(0, SHOWN_LENGTH) },
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

/** A service in this process. It answers VALID for each text that has the form of a key. Its stream tells of no change. */
export function goodService(): Transport {
  let keys = 0;
  const answer = (apiKey: string) =>
    keyFormOf(apiKey) === undefined
      ? create(VerifyKeyResponseSchema, { verdict: Verdict.INVALID })
      : goodAnswer(apiKey, keys++);
  return createRouterTransport(({ service }) => {
    service(KeyService, {
      verifyKey: ({ apiKey }) => answer(apiKey),
      batchVerifyKeys: ({ requests }) => ({
        results: requests.map(({ apiKey }) => ({ outcome: { case: "response", value: answer(apiKey) } })),
      }),
      async *watchRevocations(_request, { signal }) {
        const startMs = performance.now();
        while (!signal.aborted) {
          const elapsedMs = performance.now() - startMs;
          const asOfElapsed = {
            seconds: BigInt(Math.floor(elapsedMs / 1000)),
            nanos: Math.floor(elapsedMs % 1000) * 1e6,
          };
          const now = timestampNow();
          yield { cursor: "here", position: POSITION, epoch: EPOCH, asOfTime: now, serveTime: now, asOfElapsed };
          await pause(EVERY_MS, undefined, { signal }).catch(() => {});
        }
      },
    });
  });
}
