import { ConnectError } from "@connectrpc/connect";
import { constantError, type DomainError } from "../../lib/errors.ts";
import type { Log } from "../../lib/log.ts";
import { addressHolder } from "../../shares/holder.ts";
import type { Caller, CallHead } from "../call.ts";
import { amendCodecError, codeName, TOO_MANY_CALLS, toConnectError, toDomainError } from "../errors.ts";
import { holderOf } from "../holder.ts";
import { type AccessRule, isVerification, type Route, type StreamRoute } from "../routes.ts";
import { CallCapacity, type CallCapacityOptions } from "./call-capacity.ts";
import { type CallObserver, logCall, type Outcome } from "./call-log.ts";
import { Deadlines } from "./deadlines.ts";
import { LiveCall, type LiveCallDeps } from "./live-call.ts";
import { TurnBudget } from "./turn-budget.ts";

export interface ConcernsDeps extends Omit<LiveCallDeps, "deadlines">, CallCapacityOptions {
  readonly log: Log;
  /**
   * The caller, immediately or later. Throws or rejects with DomainError CREDENTIAL_INVALID or DATABASE_UNAVAILABLE.
   */
  resolveCaller(head: CallHead): Caller | Promise<Caller>;
  /** The same if it is known without waiting, else undefined. Throws as `resolveCaller`. */
  knownCaller?(head: CallHead): Caller | undefined;
  /** Called when a part of a message has come that costs about as much as `weight` short calls. Must not throw. */
  noteWork?(connection: object, weight: number): void;
  /** Throws DomainError CREDENTIAL_MISSING or ACCESS_DENIED. */
  checkAccess(rule: AccessRule, caller: Caller): void;
  /** Counts a call of a method that changes something. Throws or rejects with DomainError TOO_MANY_CHANGES. */
  admitChange?(caller: Caller): void | Promise<void>;
  /** Called for each call that failed. Must not throw. */
  noteRefused?(call: LiveCall, outcome: Outcome): void;
}

/** One step of the interceptor chain. */
interface Concern {
  /** Runs before any byte of the body is read. Throws the error that refuses the call. */
  enter?(call: LiveCall): void | Promise<void>;
  /** Runs before each response of a stream, because the caller's rights may have changed since the stream began. */
  again?(call: LiveCall): void | Promise<void>;
  /** Runs once when the call has ended, even if it never entered. Must not throw. */
  leave?(call: LiveCall, outcome: Outcome, ms: number): void;
}

type Entry = (call: LiveCall) => void | Promise<void>;

const OK: Outcome = Object.freeze({ code: "OK" });
const CANCELLED = constantError("CANCELLED", "the client cancelled the call");
const SHUTTING_DOWN = constantError("SHUTTING_DOWN", "this process is stopping");
/** Maximum calls that a cancellation or a deadline ends in one turn of the event loop. Each costs about 0.1 ms. */
const ENDS_PER_TURN = 16;
/** A call of another method than those of verification costs as much as eight of them, even if it is refused. */
const WEIGHT_OF_OTHERS = 7;
/** Time that streams have to send a last message when the process stops. */
const STREAM_GRACE_MS = 250;

/**
 * The interceptor chain (middleware) between lanes and handlers. All lanes share one `Concerns` and have no other way
 * to a handler, so no step can be missing on one lane.
 *
 * A lane calls `begin` and `admit` with the headers, and `hold` for each piece of the message. Then it calls `perform`,
 * `run` or `performStream` with the message, or `fail` if it can't be read. All errors that come out are ready for the
 * wire.
 */
export class Concerns {
  readonly #deps: ConcernsDeps & LiveCallDeps;
  readonly #capacity: CallCapacity;
  readonly #turns = new TurnBudget();
  readonly #ends = new TurnBudget({ stepsPerTurn: ENDS_PER_TURN, maxWaiting: Number.POSITIVE_INFINITY });
  #observer: CallObserver | undefined;
  #draining = false;

  constructor(deps: ConcernsDeps) {
    const expire = (call: LiveCall) => this.#ends.run(holderOf(call), () => call.expire());
    this.#deps = { ...deps, deadlines: new Deadlines(expire) };
    this.#capacity = new CallCapacity(deps);
  }

  /** The chain, in the order in which calls pass it. */
  readonly #concerns: readonly Concern[] = [
    { leave: (call, outcome, ms) => logCall(this.#deps.log, call, outcome, ms) },
    { leave: (call, outcome) => void (outcome === OK || this.#deps.noteRefused?.(call, outcome)) },
    { leave: (call, outcome, ms) => this.#observer?.finished(call.method, outcome.code, ms) },
    { enter: (call) => this.#takePlace(call), leave: (call) => this.#capacity.leave(call) },
    { enter: (call) => call.startTimer(), leave: (call, outcome) => call.leave(outcome) },
    { enter: (call) => this.#identifyOnce(call), again: (call) => this.#identify(call) },
    { enter: (call) => this.#checkAccess(call), again: (call) => this.#checkAccess(call) },
    { enter: (call) => (call.route.isChange ? this.#deps.admitChange?.(call.caller) : undefined) },
  ];

  readonly #enterAll = (call: LiveCall) => this.#enter(call, this.#entries);
  readonly #entries = this.#concerns.flatMap(({ enter }) => enter ?? []);
  readonly #againEntries = this.#concerns.flatMap(({ again }) => again ?? []);

  /** Tells an observer of each call that ends from now on. */
  observe(observer: CallObserver): void {
    this.#observer = observer;
  }

  /** @param timeoutMs the client's timeout, undefined for no deadline */
  begin(route: Route, head: CallHead, timeoutMs: number | undefined): LiveCall {
    if (!isVerification(route)) this.#deps.noteWork?.(head.connection, WEIGHT_OF_OTHERS);
    return new LiveCall(this.#deps, route, head, timeoutMs);
  }

  /** Waits for the turn of a request of the Connect lane. @returns false if too many wait, or if the wait was ended */
  beginStep(head: CallHead, whenGone: (endWait: () => void) => void): Promise<boolean> {
    return this.#turns.begin(addressHolder(this.#deps.clientIp(head)), whenGone);
  }

  /** Admits the call: immediately, or when the promise resolves. Throws or rejects if the call is refused. */
  admit(call: LiveCall): Promise<void> | undefined {
    try {
      return call.inSpan(this.#enterAll)?.catch((error) => {
        throw this.fail(call, error);
      });
    } catch (error) {
      throw this.fail(call, error);
    }
  }

  /**
   * Counts a piece of the call's message. Above the maximum bytes of incomplete messages, a call of the caller with the
   * most such calls ends.
   */
  hold(call: LiveCall, bytes: number): void {
    const weight = call.weightOfPiece(bytes);
    if (weight > 0) this.#deps.noteWork?.(call.head.connection, weight);
    this.#capacity.hold(call, bytes);
  }

  /** Runs the handler of an admitted unary call. Settles soon after the deadline even if the handler never does. */
  async perform(call: LiveCall, request: unknown): Promise<unknown> {
    try {
      return await call.race(Promise.resolve(this.run(call, request)));
    } catch (error) {
      throw this.fail(call, error);
    }
  }

  /**
   * The same as `perform`, but it returns or settles when the handler does, for a lane that is the call's abort
   * listener. Throws or rejects with an error that the lane gives to `fail`.
   */
  run(call: LiveCall, request: unknown): unknown {
    // The call may have been cancelled while its message was read.
    if (call.failure !== undefined) throw call.failure;
    this.#capacity.settle(call);
    const response = call.handle(request);
    if (response instanceof Promise) return response.then((settled) => this.#succeed(call, settled));
    return this.#succeed(call, response);
  }

  /** Runs the handler of an admitted stream. */
  async *performStream(call: LiveCall, requests: unknown): AsyncGenerator<unknown, void, undefined> {
    let responses: AsyncIterator<unknown> | undefined;
    try {
      responses = (call.route as StreamRoute).handler(requests, call)[Symbol.asyncIterator]();
      for (;;) {
        if (!(await call.race(this.#turns.begin(holderOf(call))))) throw TOO_MANY_CALLS;
        const { done, value } = await call.race(call.inSpan(() => responses!.next()));
        if (done) break;
        if (call.route.rule !== "anyone") await call.inSpan(() => this.#enter(call, this.#againEntries));
        call.answering = true;
        yield value;
        call.answering = false;
      }
      this.#finish(call, OK);
    } catch (error) {
      throw this.fail(call, error);
    } finally {
      if (!call.ended) this.fail(call, CANCELLED);
      responses?.return?.().catch(() => {});
    }
  }

  /** Ends the call with this error, and returns the error for the client. Only the first failure of a call counts. */
  fail(call: LiveCall, error: unknown): ConnectError {
    if (error instanceof ConnectError) {
      // An error with details was made here before. One without comes from Connect's codec.
      if (error.details.length > 0) return error;
      const isReading = !call.ended && !call.answering;
      const isJson = call.head.header("content-type")[0]?.includes("json") ?? false;
      const domainError = amendCodecError(error, isReading, isJson);
      this.#failWith(call, domainError, codeName(error.code), error);
      return error;
    }
    const domainError = toDomainError(call.failure ?? error);
    const connectError = toConnectError(domainError);
    this.#failWith(call, domainError, codeName(connectError.code), domainError.cause ?? error);
    return connectError;
  }

  /**
   * Ends a call whose client has closed the stream or the connection. The call ends in this turn or a later one,
   * because the end of one connection may cancel a thousand calls.
   *
   * @param also runs in the call's turn, even if the call has ended by itself before
   */
  cancel(call: LiveCall, also?: () => void): void {
    if (call.ended && also === undefined) return;
    this.#ends.run(holderOf(call), () => {
      also?.();
      if (!call.ended) this.fail(call, CANCELLED);
    });
  }

  /** Calls in flight, streams included. */
  get inFlight(): number {
    return this.#capacity.size;
  }

  /** Number of calls since the start that were refused or ended for lack of room, by what there was too much of. */
  get sheds() {
    return { ...this.#capacity.sheds, turns: this.#turns.refused };
  }

  /** Begins the stop of the process: streams end after STREAM_GRACE_MS, and unary calls go on. */
  drain(): void {
    this.#draining = true;
    setTimeout(() => this.#abortAll("stream"), STREAM_GRACE_MS).unref();
  }

  /** Ends the time to drain: every call that still runs is answered SHUTTING_DOWN. */
  abortAll(): void {
    for (const kind of ["stream", "unary"] as const) this.#abortAll(kind);
  }

  #abortAll(kind: Route["kind"]): void {
    for (const call of this.#capacity.calls(kind)) call.abort(SHUTTING_DOWN);
  }

  /** Counts the call against its caller's share, or against its address's share until the caller is known. */
  #takePlace(call: LiveCall): void {
    if (this.#draining && call.route.kind === "stream") throw SHUTTING_DOWN;
    if (call.route.rule !== "anyone") call.caller = this.#deps.knownCaller?.(call.head) ?? call.caller;
    this.#capacity.enter(call);
  }

  /** Runs the steps without a promise as long as none has to wait: most calls pass all of them in one turn. */
  #enter(call: LiveCall, entries: readonly Entry[], from = 0): Promise<void> | undefined {
    for (let at = from; at < entries.length; at++) {
      const pending = entries[at]!(call);
      if (pending !== undefined) return call.race(pending).then(() => this.#enter(call, entries, at + 1));
      if (call.failure !== undefined) throw call.failure;
    }
    return undefined;
  }

  /** Ignores the credential if anyone may call: a bad one must not keep its owner from logging in. */
  #identifyOnce(call: LiveCall): Promise<void> | undefined {
    const isDone = call.route.rule === "anyone" || call.caller.kind !== "anonymous";
    const identified = isDone ? undefined : this.#identify(call);
    if (identified !== undefined) return identified.then(() => this.#capacity.identified(call));
    if (!isDone) this.#capacity.identified(call);
    return undefined;
  }

  #identify(call: LiveCall): Promise<void> | undefined {
    const caller = this.#deps.resolveCaller(call.head);
    if (!(caller instanceof Promise)) {
      call.caller = caller;
      return undefined;
    }
    return caller.then((resolved) => {
      call.caller = resolved;
    });
  }

  #checkAccess(call: LiveCall): void {
    this.#deps.checkAccess(call.route.rule, call.caller);
  }

  #succeed(call: LiveCall, response: unknown): unknown {
    if (call.failure !== undefined) throw call.failure;
    this.#finish(call, OK);
    return response;
  }

  #failWith(call: LiveCall, failure: DomainError, code: string, cause: unknown): void {
    const { reason, untold } = failure;
    const outcome = { code, reason, cause, untold };
    if (!call.ended) {
      call.abort(failure);
      // The abort listener may have failed the call already.
      if (!call.ended) this.#finish(call, outcome);
    } else if (reason === "INTERNAL") {
      // The call succeeded, but its answer could not be written: only the log can tell.
      logCall(this.#deps.log, call, outcome, this.#elapsedMs(call));
    }
  }

  #finish(call: LiveCall, outcome: Outcome): void {
    call.ended = true;
    const ms = this.#elapsedMs(call);
    for (const { leave } of this.#concerns) leave?.(call, outcome, ms);
  }

  #elapsedMs(call: LiveCall): number {
    return this.#deps.clock.monotonicMs() - call.startedAtMs;
  }
}
