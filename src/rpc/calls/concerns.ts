import type { DescMethod } from "@bufbuild/protobuf";
import { ConnectError } from "@connectrpc/connect";
import { DomainError } from "../../lib/errors.ts";
import type { Log } from "../../lib/log.ts";
import { addressHolder } from "../../shares/holder.ts";
import type { Caller, CallHead } from "../call.ts";
import { amendCodecError, codeName, toConnectError, toDomainError, tooManyCalls } from "../errors.ts";
import { holderOf } from "../holder.ts";
import type { AccessRule, Route, StreamRoute, UnaryRoute } from "../routes.ts";
import { CallCapacity } from "./call-capacity.ts";
import { logCall, type Outcome } from "./call-log.ts";
import { Deadlines } from "./deadlines.ts";
import { LiveCall, type LiveCallDeps } from "./live-call.ts";
import { TurnBudget } from "./turn-budget.ts";

export interface ConcernsDeps extends Omit<LiveCallDeps, "deadlines"> {
  readonly log: Log;
  /** Who calls, at once or later. Throws or rejects with DomainError CREDENTIAL_INVALID or DATABASE_UNAVAILABLE. */
  resolveCaller(head: CallHead): Caller | Promise<Caller>;
  /** The same where it is known without any waiting, and undefined elsewhere. Throws as `resolveCaller`. */
  knownCaller?(head: CallHead): Caller | undefined;
  /** Is told of each piece of a call's messages after its first one. Never throws. */
  laterPiece?(connection: object): void;
  /** Throws DomainError CREDENTIAL_MISSING or ACCESS_DENIED. */
  checkAccess(rule: AccessRule, caller: Caller): void;
  /** Counts a call that changes something. Throws or rejects with DomainError TOO_MANY_CHANGES. */
  admitChange?(caller: Caller): void | Promise<void>;
  /** Is told of each call that failed. Never throws. */
  noteRefused?(call: LiveCall, outcome: Outcome): void;
  /** Most calls at a time, streams included; verification may take a quarter more. Default 8,000. */
  readonly maxCalls?: number;
  /** Most bytes of messages that have not come to their end. Default 64 MiB. */
  readonly maxWaitingBytes?: number;
}

/** What measures calls. */
export interface CallObserver {
  /** Once per call. `code` is the name of the gRPC code, OK included. Never throws. */
  finished(method: DescMethod, code: string, ms: number): void;
}

/** One thing that every call passes, whatever its lane. */
interface Concern {
  /** Before any byte of the body is read. Throws what refuses the call. */
  enter?(call: LiveCall): void | Promise<void>;
  /** Before each message of a stream, because what held at its start may no longer hold. */
  again?(call: LiveCall): void | Promise<void>;
  /** Once, when the call has ended, entered or not. Never throws. */
  leave?(call: LiveCall, outcome: Outcome, ms: number): void;
}

type Entry = (call: LiveCall) => void | Promise<void>;

const OK: Outcome = Object.freeze({ code: "OK" });
const MAX_CALLS = 8000;
const MAX_WAITING_BYTES = 64 * 1024 * 1024;
/** How long streams have to say their last word when the process goes away. */
const STREAM_GRACE_MS = 250;

/**
 * What stands between a lane and the handlers. Every lane is given one and the same `Concerns` and has no other way to
 * a handler, so that no concern can be given to one lane alone.
 *
 * A lane calls `begin` and `admit` with the headers alone, `hold` for what comes of the message, then `perform`, `run` or
 * `performStream` with the message, or `fail` if there is none to perform. All errors that come out are ready for the wire.
 */
export class Concerns {
  readonly #deps: ConcernsDeps & LiveCallDeps;
  readonly #capacity: CallCapacity;
  readonly #turns = new TurnBudget();
  #observer: CallObserver | undefined;
  #draining = false;

  constructor(deps: ConcernsDeps) {
    this.#deps = { ...deps, deadlines: new Deadlines() };
    const { maxCalls = MAX_CALLS, maxWaitingBytes = MAX_WAITING_BYTES } = deps;
    this.#capacity = new CallCapacity({ maxCalls, maxWaitingBytes });
  }

  /** The one ordered list. */
  readonly #concerns: readonly Concern[] = [
    { leave: (call, outcome, ms) => logCall(this.#deps.log, call, outcome, ms) },
    { leave: (call, outcome) => void (outcome === OK || this.#deps.noteRefused?.(call, outcome)) },
    { leave: (call, outcome, ms) => this.#observer?.finished(call.method, outcome.code, ms) },
    { enter: (call) => this.#takePlace(call), leave: (call) => this.#capacity.leave(call) },
    { enter: (call) => call.startTimer(), leave: (call) => call.stopTimer() },
    { enter: (call) => this.#identifyOnce(call), again: (call) => this.#identify(call) },
    { enter: (call) => this.#checkAccess(call), again: (call) => this.#checkAccess(call) },
    { enter: (call) => (call.route.isChange ? this.#deps.admitChange?.(call.caller) : undefined) },
  ];

  readonly #entries = this.#concerns.flatMap(({ enter }) => enter ?? []);
  readonly #againEntries = this.#concerns.flatMap(({ again }) => again ?? []);

  /** Tells an observer of each call that ends from now on. */
  observe(observer: CallObserver): void {
    this.#observer = observer;
  }

  /** @param timeoutMs what the client gives, undefined for no deadline */
  begin(route: Route, head: CallHead, timeoutMs: number | undefined): LiveCall {
    return new LiveCall(this.#deps, route, head, timeoutMs);
  }

  /** Waits for the turn of a request that goes the dear way. @returns false where too many wait, or the client is gone */
  beginStep(head: CallHead, whenGone: (endWait: () => void) => void): Promise<boolean> {
    return this.#turns.begin(addressHolder(this.#deps.clientIp(head)), whenGone);
  }

  /** Whether the call may go on: at once, or when the promise resolves. Throws or rejects if it may not. */
  admit(call: LiveCall): Promise<void> | undefined {
    try {
      return this.#enter(call, this.#entries)?.catch((error) => {
        throw this.fail(call, error);
      });
    } catch (error) {
      throw this.fail(call, error);
    }
  }

  /** A piece of the call's message has come. Where too much of unfinished ones is held the oldest of their calls end. */
  hold(call: LiveCall, bytes: number): void {
    if (call.hasPiece) this.#deps.laterPiece?.(call.head.connection);
    call.hasPiece = true;
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
   * As perform, but returns or settles when the handler does: for a lane that is the call's abort listener. Throws or
   * rejects with what is for `fail`.
   */
  run(call: LiveCall, request: unknown): unknown {
    // The client may have gone while its message was read.
    if (call.failure !== undefined) throw call.failure;
    this.#capacity.settle(call);
    const response = (call.route as UnaryRoute).handler(request, call);
    if (response instanceof Promise) return response.then((settled) => this.#succeed(call, settled));
    return this.#succeed(call, response);
  }

  /** Runs the handler of an admitted stream. */
  async *performStream(call: LiveCall, requests: unknown): AsyncGenerator<unknown, void, undefined> {
    let responses: AsyncIterator<unknown> | undefined;
    try {
      responses = (call.route as StreamRoute).handler(requests, call)[Symbol.asyncIterator]();
      for (;;) {
        if (!(await call.race(this.#turns.begin(holderOf(call))))) throw tooManyCalls();
        const { done, value } = await call.race(responses.next());
        if (done) break;
        if (call.route.rule !== "anyone") await this.#enter(call, this.#againEntries);
        call.answering = true;
        yield value;
        call.answering = false;
      }
      this.#finish(call, OK);
    } catch (error) {
      throw this.fail(call, error);
    } finally {
      if (!call.ended) this.fail(call, cancelled());
      responses?.return?.().catch(() => {});
    }
  }

  /** The call ends with this error. Returns it as the client shall see it. Only the first failure of a call counts. */
  fail(call: LiveCall, error: unknown): ConnectError {
    if (error instanceof ConnectError) {
      // One of ours has an ErrorInfo: it has been here before. One without is by Connect's codec.
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

  /** The client is gone: nobody waits for the call any more. */
  cancel(call: LiveCall): void {
    if (!call.ended) this.fail(call, cancelled());
  }

  /** Calls in flight, streams included. */
  get inFlight(): number {
    return this.#capacity.size;
  }

  /** The process is going away: streams end, after a moment for their last word; unary calls go on. */
  drain(): void {
    this.#draining = true;
    setTimeout(() => this.#abortAll("stream"), STREAM_GRACE_MS).unref();
  }

  /** The time to drain is over: whatever still runs is answered SHUTTING_DOWN. */
  abortAll(): void {
    this.#abortAll("stream");
    this.#abortAll("unary");
  }

  #abortAll(kind: Route["kind"]): void {
    for (const call of this.#capacity.calls(kind)) call.abort(shuttingDown());
  }

  /** A caller that is known at once takes a place of its own; any other takes one of its address until it is known. */
  #takePlace(call: LiveCall): void {
    if (this.#draining && call.route.kind === "stream") throw shuttingDown();
    if (call.route.rule !== "anyone") call.caller = this.#deps.knownCaller?.(call.head) ?? call.caller;
    this.#capacity.enter(call);
  }

  /** Waits only where a concern has to: most calls pass all of them at once. */
  #enter(call: LiveCall, entries: readonly Entry[], from = 0): Promise<void> | undefined {
    for (let at = from; at < entries.length; at++) {
      const pending = entries[at]!(call);
      if (pending !== undefined) return call.race(pending).then(() => this.#enter(call, entries, at + 1));
      if (call.failure !== undefined) throw call.failure;
    }
    return undefined;
  }

  /** Where anyone may call, a credential is not looked at: a bad one must not keep its owner from logging in. */
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
      // Whoever listens may have failed the call by now.
      if (!call.ended) this.#finish(call, outcome);
    } else if (reason === "INTERNAL") {
      // It ended well, but the answer could not be written: that must not pass in silence.
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

function cancelled(): DomainError {
  return new DomainError("CANCELLED", "the client gave up");
}

function shuttingDown(): DomainError {
  return new DomainError("SHUTTING_DOWN", "this process is going away");
}
