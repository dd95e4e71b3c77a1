import type { MessageInitShape } from "@bufbuild/protobuf";
import type { VerifyKeyRequestSchema, VerifyKeyResponse } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { LatchkeyUnavailable } from "./errors.ts";

export type VerifyKeyInit = MessageInitShape<typeof VerifyKeyRequestSchema>;

/** The outcome of one call of a batch. */
export type Outcome = { readonly response: VerifyKeyResponse } | { readonly error: Error };

/**
 * Sends one or more calls; one outcome for each, in order. `calmly`: none of them counts anything, so that a retry is safe.
 * A rejection is the outcome of all of them.
 */
export type SendCalls = (
  calls: readonly VerifyKeyInit[],
  options: { readonly timeoutMs: number; readonly calmly: boolean },
) => Promise<readonly Outcome[]>;

export interface GroupCommitDeps {
  readonly send: SendCalls;
  /** Whether calls may share a batch at all. */
  readonly batch: boolean;
}

export interface CallOptions {
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
}

interface Member {
  readonly call: VerifyKeyInit;
  readonly bytes: number;
  readonly endMs: number;
  /** Ended by its own deadline or signal: it is not sent any more. */
  ended: boolean;
  settle(outcome: Outcome): void;
}

/** The service's own maximum. */
const MAX_CALLS = 256;
const MAX_BYTES = 200 * 1024;
/** A larger call goes alone, so that others need not wait for it. */
const ALONE_BYTES = 64 * 1024;
const MAX_UNDER_WAY = 4;
/** Bytes of a call beside its texts. */
const CALL_BYTES = 64;

/**
 * Group commit (DataLoader-style batching): calls that wait in one turn of the event loop go as one BatchVerifyKeys, a
 * single one as VerifyKey. While 4 batches are under way, the next one gathers. A batch may take as long as its most
 * patient member; each call has its own deadline and its own outcome.
 */
export class GroupCommit {
  readonly #deps: GroupCommitDeps;
  #waiting: Member[] = [];
  #underWay = 0;
  #isScheduled = false;

  constructor(deps: GroupCommitDeps) {
    this.#deps = deps;
  }

  /** Calls that were not sent yet. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /** Calls to the service without an answer yet: a batch is one. */
  get underWay(): number {
    return this.#underWay;
  }

  /** @throws the call's own error; LatchkeyUnavailable at its deadline; the signal's reason */
  verify(call: VerifyKeyInit, { timeoutMs, signal }: CallOptions): Promise<VerifyKeyResponse> {
    return new Promise((resolve, reject) => {
      const end = (error: unknown) => {
        member.ended = true;
        release();
        reject(error);
      };
      const timer = setTimeout(() => end(new LatchkeyUnavailable(`no verdict within ${timeoutMs} ms`)), timeoutMs);
      const onAbort = () => end(signal?.reason);
      const release = () => {
        clearTimeout(timer);
        signal?.removeEventListener("abort", onAbort);
      };
      const member: Member = {
        call,
        bytes: bytesOf(call),
        endMs: performance.now() + timeoutMs,
        ended: false,
        settle(outcome) {
          release();
          if ("response" in outcome) resolve(outcome.response);
          else reject(outcome.error);
        },
      };
      signal?.addEventListener("abort", onAbort, { once: true });
      this.#waiting.push(member);
      this.#schedule();
    });
  }

  /** Ends all calls that were not sent yet. */
  close(error: Error): void {
    for (const member of this.#waiting.splice(0)) if (!member.ended) member.settle({ error });
  }

  get #mostUnderWay(): number {
    return this.#deps.batch ? MAX_UNDER_WAY : Number.POSITIVE_INFINITY;
  }

  #schedule(): void {
    if (this.#isScheduled || this.#underWay >= this.#mostUnderWay) return;
    this.#isScheduled = true;
    setImmediate(() => {
      this.#isScheduled = false;
      this.#flush();
    });
  }

  #flush(): void {
    this.#waiting = this.#waiting.filter((member) => !member.ended);
    while (this.#waiting.length > 0 && this.#underWay < this.#mostUnderWay) void this.#send(this.#next());
  }

  /** The calls at the front that fit into one batch: at least one. */
  #next(): Member[] {
    const [first] = this.#waiting;
    let count = 1;
    let bytes = first!.bytes;
    if (this.#deps.batch && bytes <= ALONE_BYTES) {
      for (const member of this.#waiting.slice(1, MAX_CALLS)) {
        bytes += member.bytes;
        if (member.bytes > ALONE_BYTES || bytes > MAX_BYTES) break;
        count++;
      }
    }
    return this.#waiting.splice(0, count);
  }

  async #send(members: readonly Member[]): Promise<void> {
    this.#underWay++;
    const timeoutMs = Math.max(1, Math.ceil(Math.max(...members.map(({ endMs }) => endMs)) - performance.now()));
    const calls = members.map(({ call }) => call);
    try {
      const outcomes = await this.#deps.send(calls, { timeoutMs, calmly: calls.every(({ cost }) => cost === 0) });
      members.forEach((member, at) => {
        const outcome = outcomes[at] ?? { error: new LatchkeyUnavailable("the service left out an answer of a batch") };
        if (!member.ended) member.settle(outcome);
      });
    } catch (error) {
      for (const member of members) if (!member.ended) member.settle({ error: error as Error });
    } finally {
      this.#underWay--;
      this.#flush();
    }
  }
}

/** About the bytes of a call on the wire: rather too many than too few. */
function bytesOf(call: VerifyKeyInit): number {
  const texts = [call.apiKey, call.clientIp, call.method, call.environment];
  const lists = [...(call.requiredScopes ?? []), ...(call.allowedTiers ?? [])];
  let bytes = CALL_BYTES;
  for (const text of [...texts, ...lists]) bytes += 4 + Buffer.byteLength(text ?? "");
  for (const limit of call.limits ?? []) bytes += 32 + Buffer.byteLength(limit.name ?? "");
  return bytes;
}
