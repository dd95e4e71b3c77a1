import type { MessageInitShape } from "@bufbuild/protobuf";
import type { VerifyKeyRequestSchema } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { LatchkeyUnavailable } from "./errors.ts";

export type VerifyKeyInit = MessageInitShape<typeof VerifyKeyRequestSchema>;

/** The outcome of one call of a batch. `A`: what the sender gives with an answer. */
export type Outcome<A> = { readonly answer: A } | { readonly error: Error };

/**
 * Sends one or more calls; one outcome for each, in order. `calmly`: none of them counts anything, so that a retry is
 * safe. A rejection is the outcome of all of them.
 */
export type SendCalls<A> = (
  calls: readonly VerifyKeyInit[],
  options: { readonly timeoutMs: number; readonly calmly: boolean },
) => Promise<readonly Outcome<A>[]>;

export interface GroupCommitDeps<A> {
  readonly send: SendCalls<A>;
  /** Whether calls may share a batch at all. */
  readonly batch: boolean;
}

export interface CallOptions {
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
  /** Whether the service has found this key before. Other keys go in batches of their own. */
  readonly isKnown: boolean;
}

interface Member<A> {
  readonly call: VerifyKeyInit;
  readonly bytes: number;
  readonly endMs: number;
  /** Ended by its own deadline or signal: it is not sent any more. */
  ended: boolean;
  settle(outcome: Outcome<A>): void;
}

/** Calls that wait for a batch, and batches that were sent. */
interface Lane<A> {
  waiting: Member<A>[];
  underWay: number;
}

/** The service's own maximum. */
const MAX_CALLS = 256;
const MAX_BYTES = 200 * 1024;
/** A larger call goes alone, so that others need not wait for it. */
const ALONE_BYTES = 64 * 1024;
const MAX_UNDER_WAY = 4;
/** Of those, batches of keys that are not known. One place is always left for known keys. */
const MAX_UNKNOWN_UNDER_WAY = 3;
/** Bytes of a call beside its texts. */
const CALL_BYTES = 64;

/**
 * Group commit (DataLoader-style batching): calls that wait in one turn of the event loop go as one BatchVerifyKeys, a
 * single one as VerifyKey. While 4 batches are under way, the next one gathers. A batch may take as long as its most
 * patient member; each call has its own deadline and its own outcome.
 *
 * Keys that are not known to the service go in batches of their own, because the service must read its database for
 * them: invented keys must not make others wait.
 */
export class GroupCommit<A> {
  readonly #deps: GroupCommitDeps<A>;
  readonly #known: Lane<A> = { waiting: [], underWay: 0 };
  readonly #unknown: Lane<A> = { waiting: [], underWay: 0 };
  #isScheduled = false;

  constructor(deps: GroupCommitDeps<A>) {
    this.#deps = deps;
  }

  /** Calls that were not sent yet. */
  get waiting(): number {
    return this.#known.waiting.length + this.#unknown.waiting.length;
  }

  /** Calls to the service without an answer yet: a batch is one. */
  get underWay(): number {
    return this.#known.underWay + this.#unknown.underWay;
  }

  /** @throws the call's own error; LatchkeyUnavailable at its deadline; the signal's reason */
  verify(call: VerifyKeyInit, { timeoutMs, signal, isKnown }: CallOptions): Promise<A> {
    const lane = isKnown ? this.#known : this.#unknown;
    return new Promise((resolve, reject) => {
      const end = (error: unknown) => {
        member.ended = true;
        release();
        reject(error);
      };
      const timer = setTimeout(() => end(noVerdictIn(timeoutMs)), timeoutMs);
      const onAbort = () => end(signal?.reason);
      const release = () => {
        clearTimeout(timer);
        signal?.removeEventListener("abort", onAbort);
      };
      const member: Member<A> = {
        call,
        bytes: bytesOf(call),
        endMs: performance.now() + timeoutMs,
        ended: false,
        settle(outcome) {
          release();
          if ("answer" in outcome) resolve(outcome.answer);
          else reject(outcome.error);
        },
      };
      signal?.addEventListener("abort", onAbort, { once: true });
      lane.waiting.push(member);
      this.#schedule();
    });
  }

  /** Ends all calls that were not sent yet. */
  close(error: Error): void {
    for (const lane of [this.#known, this.#unknown]) {
      for (const member of lane.waiting.splice(0)) if (!member.ended) member.settle({ error });
    }
  }

  /** The lane whose next batch may be sent now; known keys first. */
  #ready(): Lane<A> | undefined {
    const isFull = this.#deps.batch && this.underWay >= MAX_UNDER_WAY;
    if (isFull) return undefined;
    if (this.#known.waiting.length > 0) return this.#known;
    const isUnknownFull = this.#deps.batch && this.#unknown.underWay >= MAX_UNKNOWN_UNDER_WAY;
    return this.#unknown.waiting.length > 0 && !isUnknownFull ? this.#unknown : undefined;
  }

  #schedule(): void {
    if (this.#isScheduled || this.#ready() === undefined) return;
    this.#isScheduled = true;
    setImmediate(() => {
      this.#isScheduled = false;
      this.#flush();
    });
  }

  #flush(): void {
    for (const lane of [this.#known, this.#unknown]) lane.waiting = lane.waiting.filter(({ ended }) => !ended);
    for (let lane = this.#ready(); lane !== undefined; lane = this.#ready()) void this.#send(lane);
  }

  /** Takes the calls at the front that fit into one batch: at least one. */
  #next({ waiting }: Lane<A>): Member<A>[] {
    const [first] = waiting;
    let count = 1;
    let bytes = first!.bytes;
    if (this.#deps.batch && bytes <= ALONE_BYTES) {
      for (const member of waiting.slice(1, MAX_CALLS)) {
        bytes += member.bytes;
        if (member.bytes > ALONE_BYTES || bytes > MAX_BYTES) break;
        count++;
      }
    }
    return waiting.splice(0, count);
  }

  async #send(lane: Lane<A>): Promise<void> {
    const members = this.#next(lane);
    lane.underWay++;
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
      lane.underWay--;
      this.#flush();
    }
  }
}

/** The error of a call whose deadline has passed. */
export function noVerdictIn(timeoutMs: number): LatchkeyUnavailable {
  return new LatchkeyUnavailable(`no verdict within ${timeoutMs} ms`, { isUnreachable: true });
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
