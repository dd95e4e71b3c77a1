import { FairRoom } from "../../shares/fair-room.ts";
import { tooManyCalls } from "../errors.ts";
import { holderOf } from "../holder.ts";
import type { LiveCall } from "./live-call.ts";

export interface CallCapacityOptions {
  /** Most calls at a time, streams included. Verification may take a quarter of this number besides. */
  readonly maxCalls: number;
  /** Most bytes of messages that have not come to their end. */
  readonly maxWaitingBytes: number;
}

/** The part of `maxCalls` that may be streams: they last as long as their client likes. */
const STREAMS_PART = 0.1;
/** What is kept for verification, as a part of `maxCalls`: calls that wait for the database leave it this much. */
const RESERVE_PART = 0.25;
/** Callers with a credential are worth four times as many calls as all others together. */
const KNOWN_WEIGHT = 4;

/**
 * How many calls there may be at a time in a process, shared fairly by caller (see shares/). Where there are too many, a
 * call whose message has not come gives way first: a client sends that within milliseconds. After those gives way who
 * holds most calls. A caller that opens calls, or sends half of what it announced, takes no other caller's capacity.
 */
export class CallCapacity {
  readonly #options: CallCapacityOptions;
  /** Unary calls whose message has not come. */
  readonly #waiting: FairRoom<LiveCall>;
  /** Unary calls that have their message. */
  readonly #performing: FairRoom<LiveCall>;
  readonly #streams: FairRoom<LiveCall>;
  #waitingBytes = 0;

  constructor(options: CallCapacityOptions) {
    this.#options = options;
    const weight = (name: string) => (name === "known" ? KNOWN_WEIGHT : 1);
    const onGiveWay = (call: LiveCall) => {
      this.leave(call);
      call.abort(tooManyCalls());
    };
    this.#waiting = new FairRoom({ weight, onGiveWay });
    this.#performing = new FairRoom({ weight, onGiveWay });
    this.#streams = new FairRoom({ weight, onGiveWay, places: options.maxCalls * STREAMS_PART });
  }

  /** How many calls there are, streams included. */
  get size(): number {
    return this.#waiting.size + this.#performing.size + this.#streams.size;
  }

  /** The calls of a kind, in no particular order. */
  *calls(kind: "unary" | "stream"): Generator<LiveCall> {
    if (kind === "stream") yield* this.#streams;
    else yield* [...this.#waiting, ...this.#performing];
  }

  /** @throws OVERLOADED where no call gives way to one of this caller */
  enter(call: LiveCall): void {
    const holder = holderOf(call);
    if (call.route.kind === "stream") {
      if (!this.#streams.enter(holder, call)) throw tooManyCalls();
    } else {
      if (this.size >= this.#placesFor(call) && !this.#waiting.makePlace() && !this.#performing.makePlaceFor(holder)) {
        throw tooManyCalls();
      }
      this.#waiting.add(holder, call);
    }
  }

  /** The caller has become known since the call entered. */
  identified(call: LiveCall): void {
    const room = call.route.kind === "stream" ? this.#streams : this.#waiting;
    room.move(holderOf(call), call);
  }

  /** A piece of the message has come. May end calls, this one too. */
  hold(call: LiveCall, bytes: number): void {
    if (call.route.kind === "stream" || call.group === undefined) return;
    call.waitingBytes += bytes;
    this.#waitingBytes += bytes;
    while (this.#waitingBytes > this.#options.maxWaitingBytes && this.#waiting.makePlace());
  }

  /** All of the message has come: from now on the call gives way to a caller that holds less alone. */
  settle(call: LiveCall): void {
    this.leave(call);
    this.#performing.add(holderOf(call), call);
  }

  /** Has no effect on a call that has left, or gave way. */
  leave(call: LiveCall): void {
    this.#waiting.leave(call);
    this.#waitingBytes -= call.waitingBytes;
    call.waitingBytes = 0;
  }

  #placesFor({ route }: LiveCall): number {
    const { maxCalls } = this.#options;
    return isVerification(route) ? maxCalls * (1 + RESERVE_PART) : maxCalls;
  }
}

function isVerification({ rule }: LiveCall["route"]): boolean {
  return rule !== "anyone" && (rule.scopes?.includes("verify") ?? false);
}
