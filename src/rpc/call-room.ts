import { DomainError } from "../lib/errors.ts";
import { OldestFirst } from "../lib/oldest-first.ts";
import type { LiveCall } from "./live-call.ts";

export interface CallRoomOptions {
  /** Most calls at a time, streams included. */
  readonly maxCalls: number;
  /** Most bytes of messages that have not come to their end. */
  readonly maxWaitingBytes: number;
}

/** Of all calls at a time, the part that streams open to anyone may be: they last as long as their client likes. */
const STRANGERS_STREAMS_PART = 0.1;

/**
 * The room that calls in flight have in a process. What waits for its message gives way first, the oldest before all
 * others: a client sends that within milliseconds, and whoever only opens calls, or sends half of what he announced, must
 * not take the room of those who mean them.
 */
export class CallRoom {
  readonly #options: CallRoomOptions;
  readonly #live = new Set<LiveCall>();
  /** Unary calls whose message has not come. */
  readonly #waiting = new OldestFirst<LiveCall>();
  #waitingBytes = 0;
  #strangersStreams = 0;

  constructor(options: CallRoomOptions) {
    this.#options = options;
  }

  /** Calls in flight, streams included. */
  get calls(): ReadonlySet<LiveCall> {
    return this.#live;
  }

  /** @throws OVERLOADED if there is no room, and nothing that gives way */
  enter(call: LiveCall): void {
    const { maxCalls } = this.#options;
    if (isStrangersStream(call)) {
      if (this.#strangersStreams >= maxCalls * STRANGERS_STREAMS_PART) throw tooManyCalls();
      this.#strangersStreams++;
      call.isCounted = true;
    }
    if (this.#live.size >= maxCalls && !this.#giveWay()) throw tooManyCalls();
    this.#live.add(call);
    if (call.route.kind === "unary") this.#waiting.add(call);
  }

  /** A piece of the message has come. May end calls, this one too. */
  hold(call: LiveCall, bytes: number): void {
    if (!call.isListed) return;
    call.waitingBytes += bytes;
    this.#waitingBytes += bytes;
    while (this.#waitingBytes > this.#options.maxWaitingBytes && this.#giveWay());
  }

  /** All of the message has come: from now on the call stays until it ends. */
  settle(call: LiveCall): void {
    this.#waiting.delete(call);
    this.#waitingBytes -= call.waitingBytes;
    call.waitingBytes = 0;
  }

  leave(call: LiveCall): void {
    this.#live.delete(call);
    this.settle(call);
    if (call.isCounted) this.#strangersStreams--;
  }

  /** False if every call has its message. */
  #giveWay(): boolean {
    const call = this.#waiting.oldest;
    if (call === undefined) return false;
    this.#live.delete(call);
    this.settle(call);
    call.abort(tooManyCalls());
    return true;
  }
}

function isStrangersStream({ route }: LiveCall): boolean {
  return route.kind === "stream" && route.rule === "anyone";
}

function tooManyCalls(): DomainError {
  return new DomainError("OVERLOADED", "too many calls at a time", { retryAfterMs: 1000 });
}
