import { FairRoom } from "../../shares/fair-room.ts";
import { TOO_MANY_CALLS } from "../errors.ts";
import { holderOf } from "../holder.ts";
import { isVerification } from "../routes.ts";
import type { LiveCall } from "./live-call.ts";

export interface CallCapacityOptions {
  /**
   * Maximum calls at a time, streams included. Verification may take a quarter of this number on top. Default 8,000.
   */
  readonly maxCalls?: number;
  /** Maximum bytes of incomplete messages, of all calls together. Default 64 MiB. */
  readonly maxWaitingBytes?: number;
}

const MAX_CALLS = 8000;
const MAX_WAITING_BYTES = 64 * 1024 * 1024;

/** The part of `maxCalls` that may be streams, because their clients decide how long they last. */
const STREAMS_PART = 0.1;
/** The reserve for verification, as a part of `maxCalls`: calls that wait for the database can't use it. */
const RESERVE_PART = 0.25;
/** Callers with a credential weigh four times as much as all anonymous callers together. */
const KNOWN_WEIGHT = 4;

/**
 * The maximum number of calls at a time in this process, shared fairly by caller (see shares/). When it is full, a call
 * whose message is incomplete gives way first, because an honest client sends its message within milliseconds. After
 * those, a call of the caller with the most calls gives way. So a caller that opens calls, or sends half of a message,
 * takes no other caller's capacity.
 */
export class CallCapacity {
  readonly #maxCalls: number;
  readonly #maxWaitingBytes: number;
  /** Unary calls whose message is incomplete. */
  readonly #waiting: FairRoom<LiveCall>;
  /** Unary calls whose message is complete. */
  readonly #performing: FairRoom<LiveCall>;
  readonly #streams: FairRoom<LiveCall>;
  #waitingBytes = 0;
  /** Number of calls since the start that were refused or gave way, by what there was too much of. */
  readonly sheds = { calls: 0, streams: 0, message_bytes: 0 };

  constructor({ maxCalls = MAX_CALLS, maxWaitingBytes = MAX_WAITING_BYTES }: CallCapacityOptions) {
    this.#maxCalls = maxCalls;
    this.#maxWaitingBytes = maxWaitingBytes;
    const weight = (name: string) => (name === "known" ? KNOWN_WEIGHT : 1);
    const onGiveWay = (call: LiveCall) => {
      this.leave(call);
      call.abort(TOO_MANY_CALLS);
    };
    this.#waiting = new FairRoom({ weight, onGiveWay });
    this.#performing = new FairRoom({ weight, onGiveWay });
    const onStreamGivesWay = (call: LiveCall) => {
      this.sheds.streams++;
      onGiveWay(call);
    };
    this.#streams = new FairRoom({ weight, onGiveWay: onStreamGivesWay, places: maxCalls * STREAMS_PART });
  }

  /** Number of calls, streams included. */
  get size(): number {
    return this.#waiting.size + this.#performing.size + this.#streams.size;
  }

  /** The calls of a kind, in no particular order. */
  *calls(kind: "unary" | "stream"): Generator<LiveCall> {
    if (kind === "stream") yield* this.#streams;
    else yield* [...this.#waiting, ...this.#performing];
  }

  /** @throws OVERLOADED if there is no capacity and no other call gives way to this one */
  enter(call: LiveCall): void {
    const holder = holderOf(call);
    if (call.route.kind === "stream") {
      if (this.#streams.enter(holder, call)) return;
      this.sheds.streams++;
      throw TOO_MANY_CALLS;
    }
    if (this.size >= this.#placesFor(call)) {
      // This call or another one.
      this.sheds.calls++;
      if (!this.#waiting.makePlace() && !this.#performing.makePlaceFor(holder)) throw TOO_MANY_CALLS;
    }
    this.#waiting.add(holder, call);
  }

  /** Moves the call to its caller, which has become known since it entered. */
  identified(call: LiveCall): void {
    const room = call.route.kind === "stream" ? this.#streams : this.#waiting;
    room.move(holderOf(call), call);
  }

  /** Counts a piece of the message. May end calls, this one included. */
  hold(call: LiveCall, bytes: number): void {
    if (call.route.kind === "stream" || call.group === undefined) return;
    call.waitingBytes += bytes;
    this.#waitingBytes += bytes;
    while (this.#waitingBytes > this.#maxWaitingBytes && this.#waiting.makePlace()) this.sheds.message_bytes++;
  }

  /** Notes that the message is complete. From now on the call gives way only to a caller that holds less. */
  settle(call: LiveCall): void {
    this.leave(call);
    this.#performing.add(holderOf(call), call);
  }

  /** Has no effect on a call that has left or has given way. */
  leave(call: LiveCall): void {
    this.#waiting.leave(call);
    this.#waitingBytes -= call.waitingBytes;
    call.waitingBytes = 0;
  }

  #placesFor({ route }: LiveCall): number {
    return isVerification(route) ? this.#maxCalls * (1 + RESERVE_PART) : this.#maxCalls;
  }
}
