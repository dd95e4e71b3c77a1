/** A near cache with a clock that the test moves, and the messages of a service that it imagines. */
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs, timestampFromMs } from "@bufbuild/protobuf/wkt";
import { NearCache, type NearCacheOptions } from "../../../client/src/near/near-cache.ts";
import type { StreamAttempt } from "../../../client/src/near/stream-attempt.ts";
import type { VerifyRequest } from "../../../client/src/verdict.ts";
import { Change_Kind as Kind } from "../../../src/gen/latchkey/v1/change_pb.ts";
import { type KeySchema, Key_State as State } from "../../../src/gen/latchkey/v1/key_pb.ts";
import {
  Freshness_Source as Source,
  Verdict,
  type VerifyKeyResponse,
  VerifyKeyResponseSchema,
  WatchRevocationsResponseSchema,
} from "../../../src/gen/latchkey/v1/key_service_pb.ts";
import { checksum62 } from "../../../src/lib/base62.ts";
import { StandingClock } from "../../support/shifted-clock.ts";

export { Kind, State, Verdict };

export const EPOCH = 7n;
/** The database's time when a world begins. */
export const BEGIN_MS = 1_800_000_000_000;

/** A raw key with the right checksum: the same for the same number. */
export function rawKey(n: number, front = "kit_live_"): string {
  const unchecked = `${front}${`${n}`.padStart(16, "k")}${`${n}`.padStart(43, "s")}`;
  return unchecked + checksum62(unchecked);
}

export function keyId(n: number): string {
  return `key_${`${n}`.padStart(16, "k")}`;
}

export interface Answer {
  readonly verdict?: Verdict;
  readonly position?: number;
  readonly epoch?: bigint;
  readonly ageMs?: number | undefined;
  readonly maxStalenessMs?: number;
  readonly nearRules?: number;
  readonly key?: MessageInitShape<typeof KeySchema>;
  readonly secretExpiresAtMs?: number;
  readonly serveMs?: number | undefined;
}

export interface Told {
  readonly cursor?: string;
  readonly position?: number;
  readonly epoch?: bigint;
  readonly resync?: boolean;
  /** How long after the stream was opened its poll was sent. Default: now. */
  readonly elapsedMs?: number | undefined;
  readonly serveMs?: number;
  readonly changes?: readonly { kind: Kind; subjectId: string; position?: number; changedAtMs?: number }[];
}

export class NearWorld {
  readonly clock = new StandingClock();
  readonly cache: NearCache;
  readonly #bornAtMs = this.clock.elapsedMs();

  constructor(options: Partial<NearCacheOptions> = {}) {
    const bounds = { maxKeys: 1000, maxBytes: 2 ** 30, maxStalenessMs: 5000 };
    this.cache = new NearCache({ clock: this.clock, random: () => 0.5, ...bounds, ...options });
  }

  /** The database's time now. */
  get databaseMs(): number {
    return BEGIN_MS + this.clock.monotonicMs() + this.clock.suspendedMs - this.#bornAtMs;
  }

  /** Opens a stream whose first message is whole. */
  stream(told: Told = {}, cursor = ""): StreamAttempt {
    const attempt = this.cache.openStream(cursor);
    this.tell(attempt, told);
    return attempt;
  }

  tell(attempt: StreamAttempt, told: Told = {}) {
    const { cursor = "a cursor", position = 100, epoch = EPOCH, resync = false, changes = [] } = told;
    const nowMs = this.clock.elapsedMs() - attempt.openedAtMs;
    const elapsedMs = "elapsedMs" in told ? told.elapsedMs : nowMs;
    const message = create(WatchRevocationsResponseSchema, {
      cursor,
      epoch,
      resync,
      position: BigInt(position),
      serveTime: timestampFromMs(told.serveMs ?? this.databaseMs),
      ...(cursor !== "" && elapsedMs !== undefined && { asOfElapsed: durationFromMs(elapsedMs) }),
      changes: changes.map(({ kind, subjectId, position: at = position, changedAtMs = BEGIN_MS }) => ({
        kind,
        subjectId,
        position: BigInt(at),
        changeTime: timestampFromMs(changedAtMs),
      })),
    });
    return this.cache.apply(attempt, message);
  }

  response(n: number, answer: Answer = {}): VerifyKeyResponse {
    const { verdict = Verdict.VALID, position = 100, epoch = EPOCH, nearRules = 1, maxStalenessMs = 5000 } = answer;
    const ageMs = "ageMs" in answer ? answer.ageMs : 0;
    const serveMs = "serveMs" in answer ? answer.serveMs : this.databaseMs;
    return create(VerifyKeyResponseSchema, {
      valid: verdict === Verdict.VALID,
      verdict,
      nearRules,
      freshness: {
        source: Source.CACHE,
        position: BigInt(position),
        epoch,
        maxStaleness: durationFromMs(maxStalenessMs),
        ...(ageMs !== undefined && { age: durationFromMs(ageMs) }),
        ...(serveMs !== undefined && { serveTime: timestampFromMs(serveMs) }),
      },
      ...(verdict !== Verdict.INVALID && { key: keyInit(n, answer.key) }),
      ...(answer.secretExpiresAtMs !== undefined && { secretExpireTime: timestampFromMs(answer.secretExpiresAtMs) }),
    });
  }

  /** One call and its answer. */
  verify(n: number, answer: Answer = {}, request: Partial<VerifyRequest> = {}): void {
    this.cache.keep(this.cache.begin(), { apiKey: rawKey(n), ...request }, this.response(n, answer));
  }

  judge(n: number, request: Partial<VerifyRequest> = {}) {
    return this.cache.judge({ apiKey: rawKey(n), ...request });
  }

  verdict(n: number, request: Partial<VerifyRequest> = {}): string | undefined {
    return this.judge(n, request)?.verdict;
  }
}

function keyInit(n: number, init: MessageInitShape<typeof KeySchema> = {}): MessageInitShape<typeof KeySchema> {
  return {
    id: keyId(n),
    ownerId: "usr_owner00000000000",
    name: "a key",
    state: State.ACTIVE,
    tier: "basic",
    environment: "live",
    scopes: ["read"],
    effectiveScopes: ["read"],
    effectiveTier: "basic",
    ...init,
  } as MessageInitShape<typeof KeySchema>;
}
