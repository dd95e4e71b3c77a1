/**
 * CALLS. The steps that every call passes between a lane and its handler. This sub-room knows no wire: lanes give it a
 * head, the size of each piece that has come, and a message.
 *
 *   concerns.ts       the interceptor chain: one ordered list of steps for every lane
 *   live-call.ts      one call from its headers to its end: deadline, abort, what handlers add to the answer
 *   caller.ts         from headers to a Caller, by service credential, access token or client certificate
 *   client-certificates.ts
 *                     the client certificates of connections
 *   client-ip.ts      the client's address, through trusted proxies; forwarded.ts parses the headers that proxies write
 *   call-capacity.ts  the maximum number of calls at a time, shared by caller, and which call gives way
 *   turn-budget.ts    the maximum number of steps that begin, or calls that end, in one turn of the event loop
 *   deadlines.ts      coalesced timers for the deadlines of all calls
 *   change-rate.ts    the maximum number of changes of one caller in a minute
 *   call-log.ts       one log line for each call
 *   call-span.ts      one span of OpenTelemetry for each call, if an operator wants them
 *   trace-context.ts  the span that the client's call belongs to, from W3C Trace Context
 *   refused-calls.ts  which failed calls become events on the audit trail
 */
import type { DescMethod } from "@bufbuild/protobuf";
import type { Clock } from "../../lib/clock.ts";
import { constantError, type DomainError } from "../../lib/errors.ts";
import { newId } from "../../lib/id.ts";
import type { ServerSpan, ServerSpans } from "../../lib/tracing.ts";
import type { Member } from "../../shares/fair-room.ts";
import type { Call, Caller, CallHead, MetadataField } from "../call.ts";
import type { Route, UnaryRoute } from "../routes.ts";
import { type CallEnd, endCallSpan, startCallSpan } from "./call-span.ts";
import type { Deadlines, Step } from "./deadlines.ts";

export interface LiveCallDeps {
  readonly clock: Clock;
  readonly deadlines: Deadlines<LiveCall>;
  /** The client's address, through trusted proxies. */
  clientIp(head: CallHead): string;
  /** Makes the spans of calls. Undefined: calls have none. */
  readonly spans?: ServerSpans | undefined;
}

/** A listener that is notified when a call is aborted; for a lane that does not use `race`. */
export interface AbortListener {
  aborted(failure: DomainError): void;
}

const DEADLINE_EXCEEDED = constantError("DEADLINE_EXCEEDED", "deadline exceeded");
const ANONYMOUS: Caller = Object.freeze({ kind: "anonymous" });
const MAX_USER_AGENT = 256;
/** A part of a message of this size counts as one short call, so a batch of 256 keys counts as about thirty. */
const BYTES_OF_SHORT_CALL = 512;
/** Maximum duration of a unary call, whatever its client's timeout, because a body might never end. */
const MAX_UNARY_MS = 60_000;

/** A call from its headers to its end. The signal and the address are made on demand, because few calls need them. */
export class LiveCall implements Call, Member {
  readonly route: Route;
  readonly head: CallHead;
  readonly startedAtMs: number;
  /** Undefined unless an operator traces this process. */
  readonly span: ServerSpan | undefined;

  // Only Concerns writes these.
  caller: Caller = ANONYMOUS;
  /** Whether a message of a stream is being written. */
  answering = false;
  /** Whether the call is over: logged, measured, without a timer. */
  ended = false;

  // Only CallCapacity writes these: the call's place in a FairRoom, and the bytes of its incomplete message.
  isListed = false;
  older: Member["older"];
  newer: Member["newer"];
  group: object | undefined;
  waitingBytes = 0;

  /** Only the lane writes it. Undefined for a lane that waits by `race`. */
  abortListener: AbortListener | undefined;

  // Only addHeader and addTrailer fill these, and a lane that has sent them clears them; undefined for none.
  answerHeaders: MetadataField[] | undefined;
  answerTrailers: MetadataField[] | undefined;

  readonly #deps: LiveCallDeps;
  readonly #deadlineAtMs: number;
  #hasPiece = false;
  #timer: Step<LiveCall> | undefined;
  #failure: DomainError | undefined;
  #waiters: ((failure: DomainError) => void)[] | undefined;
  #controller: AbortController | undefined;
  #clientIp: string | undefined;
  #requestId: string | undefined;

  constructor(deps: LiveCallDeps, route: Route, head: CallHead, timeoutMs: number | undefined) {
    this.#deps = deps;
    this.route = route;
    this.head = head;
    this.startedAtMs = deps.clock.monotonicMs();
    this.span = deps.spans && startCallSpan(deps.spans, route, head);
    const longestMs = route.kind === "unary" ? MAX_UNARY_MS : Number.POSITIVE_INFINITY;
    this.#deadlineAtMs = this.startedAtMs + Math.min(timeoutMs ?? Number.POSITIVE_INFINITY, longestMs);
  }

  get method(): DescMethod {
    return this.route.method;
  }

  /** The client's address, kept from the first read, because a closed connection has none. */
  get clientIp(): string {
    this.#clientIp ??= this.#deps.clientIp(this.head);
    return this.#clientIp;
  }

  get userAgent(): string {
    return (this.head.header("user-agent")[0] ?? "").slice(0, MAX_USER_AGENT);
  }

  /**
   * The name of the call in the log. It is made at the first read, so that calls without a log line have none. A client
   * can't choose it, so no two calls have the same one.
   */
  get requestId(): string {
    this.#requestId ??= newId("req");
    return this.#requestId;
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#failure !== undefined) this.#controller.abort(this.#failure);
    }
    return this.#controller.signal;
  }

  remainingMs(): number {
    return this.#deadlineAtMs - this.#deps.clock.monotonicMs();
  }

  addHeader(name: string, value: string): void {
    this.answerHeaders ??= [];
    this.answerHeaders.push([name, value]);
  }

  addTrailer(name: string, value: string): void {
    this.answerTrailers ??= [];
    this.answerTrailers.push([name, value]);
  }

  /**
   * Counts a piece of the call's messages. The first piece is part of the call's own cost. Each further one counts as a
   * short call, because a client may send each byte in a frame of its own.
   *
   * @returns the extra cost of the piece and its bytes, in short calls
   */
  weightOfPiece(bytes: number): number {
    const weight = Math.floor(bytes / BYTES_OF_SHORT_CALL) + (this.#hasPiece ? 1 : 0);
    this.#hasPiece = true;
    return weight;
  }

  /** The reason why the call was aborted, undefined before that. */
  get failure(): DomainError | undefined {
    return this.#failure;
  }

  /** Starts the timer that aborts the call at its deadline. */
  startTimer(): void {
    if (this.#deadlineAtMs === Number.POSITIVE_INFINITY) return;
    const nowMs = this.#deps.clock.monotonicMs();
    if (this.#deadlineAtMs <= nowMs) this.expire();
    else this.#timer = this.#deps.deadlines.add(this, this.#deadlineAtMs, nowMs);
  }

  /** The call has ended: stops the timer, and ends the span. */
  leave(end: CallEnd): void {
    this.#timer?.delete(this);
    this.#timer = undefined;
    if (this.span !== undefined) endCallSpan(this.span, end);
  }

  /** Aborts the call, because its deadline has come. */
  expire(): void {
    this.abort(DEADLINE_EXCEEDED);
  }

  /** Runs `work` so that its SQL and Redis become children of the call's span. Costs nothing without one. */
  inSpan<R>(work: (call: LiveCall) => R): R {
    return this.span === undefined ? work(this) : this.span.run(work, this as LiveCall);
  }

  /** Runs the handler of a unary call in the same way. */
  handle(request: unknown): unknown {
    const { handler } = this.route as UnaryRoute;
    return this.span === undefined ? handler(request, this) : this.span.run(handler, request, this);
  }

  /** Settles as `work` does, or rejects as soon as the call is aborted; then the outcome of `work` is ignored. */
  race<T>(work: Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      if (this.#failure !== undefined) reject(this.#failure);
      this.#waiters ??= [];
      const waiters = this.#waiters;
      waiters.push(reject);
      const leave = () => waiters.splice(waiters.indexOf(reject), 1);
      work.then(
        (value) => {
          leave();
          resolve(value);
        },
        (error) => {
          leave();
          reject(error);
        },
      );
    });
  }

  /** Aborts the call, and ends all its waits. Only the first failure counts, and none after the call's end. */
  abort(failure: DomainError): void {
    if (this.ended || this.#failure !== undefined) return;
    this.#failure = failure;
    for (const reject of this.#waiters ?? []) reject(failure);
    this.#controller?.abort(failure);
    this.abortListener?.aborted(failure);
  }
}
