/** A service in a few lines that answers, streams and fails as a test says, by the moved clock of its client. */
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs, timestampFromMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, createRouterTransport, type Transport } from "@connectrpc/connect";
import type { KeySet } from "../../client/src/access-tokens.ts";
import { createLatchkeyOf, type Latchkey, type LatchkeyOptions } from "../../client/src/latchkey.ts";
import { AuthService } from "../../src/gen/latchkey/v1/auth_service_pb.ts";
import { Change_Kind as Kind } from "../../src/gen/latchkey/v1/change_pb.ts";
import {
  KeyService,
  Verdict,
  type VerifyKeyRequest,
  type VerifyKeyResponse,
  VerifyKeyResponseSchema,
} from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { checksum62 } from "../../src/lib/base62.ts";
import { newId } from "../../src/lib/id.ts";
import { randomBase62 } from "../../src/lib/random.ts";
import { MovedTime } from "./moved-time.ts";

const EPOCH = 9n;

export interface ServedKey {
  readonly raw: string;
  readonly id: string;
  readonly ownerId: string;
  state: "active" | "revoked";
  perMinute: number | undefined;
  remaining: number;
}

interface Change {
  readonly kind: Kind;
  readonly subjectId: string;
}

type Message = { resync?: boolean; changes?: readonly Change[]; cursor?: string };

export class NearService {
  readonly time = new MovedTime();
  readonly keys = new Map<string, ServedKey>();
  /** Of each call: how many keys it asked about. */
  readonly verified: VerifyKeyRequest[][] = [];
  readonly reported: unknown[][] = [];
  usersAsked = 0;
  /** Thrown by each call for verdicts, by GetCurrentUser, and at the opening of a stream. */
  failure: Error | undefined;
  streamFailure: Error | undefined;
  /** The age that answers tell, and the maximum that they allow. */
  ageMs = 0;
  maxStalenessMs = 5000;
  /** As a service that knows nothing of near verification answers. */
  isOlder = false;
  endedSessions = new Set<string>();
  position = 10n;
  /** By how much the positions of answers are below that of the stream. */
  lag = 0n;
  #streams = new Set<(message: Message) => void>();
  #cursors = 0;

  readonly transport: Transport = createRouterTransport(({ service }) => {
    service(KeyService, {
      verifyKey: async (request) => {
        this.verified.push([request]);
        return this.#answer(request);
      },
      batchVerifyKeys: async ({ requests }) => {
        this.verified.push(requests);
        return {
          results: requests.map((request) => ({
            outcome: { case: "response" as const, value: this.#answer(request) },
          })),
        };
      },
      batchCheckRateLimits: async ({ requests }) => {
        this.#check();
        this.reported.push(requests);
        return { results: requests.map(() => ({ outcome: { case: "response" as const, value: { allowed: true } } })) };
      },
      watchRevocations: (request, { signal }) => this.#watch(request.cursor, signal),
    });
    service(AuthService, {
      getCurrentUser: async () => {
        this.usersAsked++;
        this.#check();
        return {};
      },
    });
  });

  client(options: Partial<LatchkeyOptions> = {}, keySet?: KeySet): Latchkey {
    return createLatchkeyOf(
      { transport: this.transport, credential: "kit_svc_one", near: true, deadlineMs: 10_000, ...options },
      { clock: this.time.clock, timers: this.time, random: () => 0.5, ...(keySet && { keySet }) },
    );
  }

  issue({ perMinute }: { perMinute?: number } = {}): ServedKey {
    const id = newId("key");
    const unchecked = `kit_live_${id.slice(4)}${randomBase62(43)}`;
    const raw = unchecked + checksum62(unchecked);
    const key: ServedKey = { raw, id, ownerId: newId("usr"), state: "active", perMinute, remaining: perMinute ?? 0 };
    this.keys.set(raw, key);
    return key;
  }

  get streams(): number {
    return this.#streams.size;
  }

  /** Tells all streams, by a poll of now. */
  async tell(message: Message = {}): Promise<void> {
    for (const send of this.#streams) send(message);
    await this.settle();
  }

  async change(kind: Kind, subjectId: string): Promise<void> {
    this.position++;
    await this.tell({ changes: [{ kind, subjectId }] });
  }

  /** Lets time pass, with a message of the stream each second, as the service sends it. */
  async pass(ms: number): Promise<void> {
    for (let at = 0; at < ms; at += 1000) {
      await this.time.pass(Math.min(1000, ms - at));
      await this.tell();
    }
  }

  /** Follows what is under way in memory to its end. */
  async settle(): Promise<void> {
    for (let turn = 0; turn < 10; turn++) await this.time.pass(0);
    await new Promise((resolve) => setImmediate(resolve));
  }

  #check(): void {
    if (this.failure !== undefined) throw this.failure;
  }

  #answer({ apiKey, cost = 1 }: VerifyKeyRequest): VerifyKeyResponse {
    this.#check();
    const key = this.keys.get(apiKey);
    const near = this.isOlder
      ? {}
      : { epoch: EPOCH, age: durationFromMs(this.ageMs), serveTime: timestampFromMs(this.time.clock.nowMs()) };
    const freshness = {
      maxStaleness: durationFromMs(this.maxStalenessMs),
      position: this.position - this.lag,
      ...near,
    };
    const rules = this.isOlder ? {} : { nearRules: 1 };
    const answer = (value: MessageInitShape<typeof VerifyKeyResponseSchema>) => create(VerifyKeyResponseSchema, value);
    if (key === undefined) return answer({ valid: false, verdict: Verdict.INVALID, freshness, ...rules });
    const isRevoked = key.state === "revoked";
    const isFull = !isRevoked && key.perMinute !== undefined && cost > key.remaining;
    const isValid = !isRevoked && !isFull;
    if (isValid && key.perMinute !== undefined) key.remaining -= cost;
    const window = { window: durationFromMs(60_000), resetAfter: durationFromMs(60_000) };
    return answer({
      ...{ valid: isValid, freshness, ...rules },
      verdict: isRevoked ? Verdict.REVOKED : isFull ? Verdict.RATE_LIMITED : Verdict.VALID,
      ...(isFull && { retryAfter: durationFromMs(2000) }),
      key: {
        ...{ id: key.id, ownerId: key.ownerId, name: "a key", environment: "live", tier: "basic" },
        effectiveTier: "basic",
        state: isRevoked ? 3 : 1,
        ...(key.perMinute !== undefined && { effectiveLimits: { perMinute: key.perMinute } }),
      },
      rateLimits:
        key.perMinute === undefined || isRevoked ? [] : [{ limit: key.perMinute, remaining: key.remaining, ...window }],
    });
  }

  async *#watch(cursor: string, signal: AbortSignal) {
    if (this.streamFailure !== undefined) throw this.streamFailure;
    const openedAtMs = this.time.nowMs;
    const waiting: Message[] = [];
    let wake = () => {};
    const send = (message: Message) => {
      waiting.push({ cursor: `c${++this.#cursors}`, ...message });
      wake();
    };
    signal.addEventListener("abort", () => wake());
    this.#streams.add(send);
    try {
      if (cursor === "")
        send({ changes: [...this.endedSessions].map((subjectId) => ({ kind: Kind.SESSION, subjectId })) });
      else send({});
      while (!signal.aborted) {
        const message = waiting.shift();
        if (message === undefined) {
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
          continue;
        }
        const now = timestampFromMs(this.time.clock.nowMs());
        const changes = (message.changes ?? []).map((one) => ({ ...one, changeTime: now, position: this.position }));
        yield {
          ...{ cursor: message.cursor!, resync: message.resync ?? false, position: this.position, changes },
          ...(!this.isOlder && {
            ...{ epoch: EPOCH, serveTime: now },
            asOfElapsed: durationFromMs(this.time.nowMs - openedAtMs),
          }),
        };
      }
    } finally {
      this.#streams.delete(send);
    }
  }
}

export const unavailable = () => new ConnectError("unreachable", Code.Unavailable);
