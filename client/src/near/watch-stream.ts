import { Code, ConnectError } from "@connectrpc/connect";
import { ErrorInfoSchema } from "../../../src/gen/google/rpc/error_details_pb.ts";
import type { WatchRevocationsResponse } from "../../../src/gen/latchkey/v1/key_service_pb.ts";
import type { Timers } from "../../../src/lib/clock.ts";
import type { Credential } from "../credential.ts";
import { errorOf, LatchkeyCredentialError, LatchkeyUnavailable } from "../errors.ts";
import type { NearCache } from "./near-cache.ts";
import type { AppliedMessage, StreamAttempt } from "./stream-attempt.ts";

/**
 * The state of the stream. `not opened`: nothing needed it yet. `opening`: no whole message has come. `open`: messages
 * come. `waiting`: it failed, and the next attempt follows. `no stream`: the service has no room for it, and the next
 * attempt follows. `older service`: the service does not tell what near verification needs.
 */
export type StreamState = "not opened" | "opening" | "open" | "waiting" | "no stream" | "older service" | "closed";

export interface WatchStreamDeps {
  readonly near: Pick<NearCache, "cursor" | "openStream" | "apply" | "streamEnded" | "mustReopen">;
  readonly credential: Pick<Credential, "current" | "after">;
  /** Opens WatchRevocations with this cursor, and with this credential if there is one. */
  readonly watch: (
    cursor: string,
    credential: string | undefined,
    signal: AbortSignal,
  ) => AsyncIterable<WatchRevocationsResponse>;
  readonly timers: Timers;
  /** 0 up to 1. */
  readonly random: () => number;
  /** Called in the turn in which a message was applied. */
  readonly onApplied: (applied: AppliedMessage) => void;
  /** Called whenever the state changes. It must not throw. */
  readonly onState: (state: StreamState) => void;
  /** Called with each failure that is not an end of the service's process: a refused credential. */
  readonly onError: (error: Error) => void;
}

/** The pause before an attempt is up to this, and doubles with each failure in a row (full jitter). */
const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 5_000;
/** A stream that was up for less counts as a failure, so that one that ends at once is not opened in a loop. */
const STABLE_MS = 5_000;
/** The stream is opened again after 8 to 12 minutes: its knowledge is dated by the moment of its opening. */
const LEAST_LIFE_MS = 480_000;
const LIFE_SPREAD_MS = 240_000;
/** The service sends a message after each poll, once a second. A stream without one for this time is replaced. */
const SILENT_MS = 15_000;

/**
 * The life of the WatchRevocations stream. It is opened once and stays: it reconnects with full jitter (0.1 to 5 s)
 * from the last cursor, and is replaced every 10 minutes ± 20 %, where the new stream is up before the old one ends. No
 * failure of it reaches a caller, except through `up`.
 *
 * A message is applied in the turn in which it came. A cursor that the service refuses is dropped. A refused credential
 * is asked for again once in each attempt.
 */
export class WatchStream {
  readonly #deps: WatchStreamDeps;
  #state: StreamState = "not opened";
  /** The stream whose messages count. */
  #current: Attempt | undefined;
  /** The stream that has had no whole message yet. */
  #opening: Attempt | undefined;
  #failures = 0;
  /** The service refused the cursor. */
  #isCursorRefused = false;
  #cancelNext: () => void = () => {};
  #waiters: PromiseWithResolvers<void>[] = [];

  constructor(deps: WatchStreamDeps) {
    this.#deps = deps;
  }

  get state(): StreamState {
    return this.#state;
  }

  /** Opens the stream, if it was not opened before. */
  start(): void {
    if (this.#state === "not opened") this.#open();
  }

  /**
   * Resolves once a whole message has come, or if it is known that none will come soon: "no stream", "older service".
   *
   * @throws LatchkeyUnavailable or LatchkeyCredentialError, if the attempt fails
   */
  up(): Promise<void> {
    if (this.#state === "closed") return Promise.reject(new LatchkeyUnavailable("the client is closed"));
    if (this.#state === "not opened" || this.#state === "waiting") this.#open();
    if (this.#state !== "opening") return Promise.resolve();
    const waiter = Promise.withResolvers<void>();
    this.#waiters.push(waiter);
    return waiter.promise;
  }

  /** Ends the stream. It is not opened again. */
  close(): void {
    this.#become("closed");
    this.#cancelNext();
    this.#opening?.stop();
    this.#current?.stop();
    this.#settle(new LatchkeyUnavailable("the client is closed"));
  }

  #open(): void {
    this.#cancelNext();
    if (this.#state === "closed" || this.#opening !== undefined) return;
    if (this.#current === undefined) this.#become("opening");
    const attempt = new Attempt(this.#deps.timers);
    this.#opening = attempt;
    this.#run(attempt).then(
      () => this.#ended(attempt, undefined),
      (error: unknown) => this.#ended(attempt, error),
    );
  }

  async #run(attempt: Attempt): Promise<void> {
    const { credential } = this.#deps;
    const text = await credential.current();
    try {
      await this.#read(attempt, text);
    } catch (error) {
      const isRefused = error instanceof ConnectError && error.code === Code.Unauthenticated;
      const other = isRefused && text !== undefined && !attempt.isStopped ? await credential.after(text) : undefined;
      if (other === undefined) throw error;
      await this.#read(attempt, other);
    }
  }

  async #read(attempt: Attempt, text: string | undefined): Promise<void> {
    const { near, watch } = this.#deps;
    if (attempt.isStopped) return;
    attempt.cursor = this.#isCursorRefused ? "" : near.cursor;
    const opened = near.openStream(attempt.cursor);
    attempt.awaitMessage();
    try {
      for await (const message of watch(attempt.cursor, text, attempt.signal)) {
        if (attempt.isStopped) return;
        this.#take(attempt, opened, message);
      }
    } finally {
      near.streamEnded(opened);
    }
  }

  #take(attempt: Attempt, opened: StreamAttempt, message: WatchRevocationsResponse): void {
    if (message.epoch === 0n) throw new OlderService();
    attempt.awaitMessage();
    const applied = this.#deps.near.apply(opened, message);
    this.#deps.onApplied(applied);
    if (applied.isWhole && attempt !== this.#current) this.#isUp(attempt);
    if (this.#deps.near.mustReopen(opened)) this.#open();
  }

  #isUp(attempt: Attempt): void {
    this.#current?.stop();
    this.#current = attempt;
    this.#opening = undefined;
    this.#isCursorRefused = false;
    const { timers, random } = this.#deps;
    attempt.onStable(timers.after(STABLE_MS, () => this.#isStable()));
    this.#cancelNext();
    this.#cancelNext = timers.after(LEAST_LIFE_MS + random() * LIFE_SPREAD_MS, () => this.#open());
    this.#become("open");
    this.#settle(undefined);
  }

  #isStable(): void {
    this.#failures = 0;
  }

  #ended(attempt: Attempt, error: unknown): void {
    const isReplaced = attempt !== this.#current && attempt !== this.#opening;
    const wasUp = attempt === this.#current;
    attempt.stop();
    if (this.#state === "closed" || isReplaced) return;
    if (wasUp) this.#current = undefined;
    else this.#opening = undefined;
    if (isRefusedCursor(error) && attempt.cursor !== "") this.#isCursorRefused = true;
    this.#become(this.#stateAfter(error, wasUp));
    const failure = attempt.isSilent ? silent() : failureOf(error);
    if (failure instanceof LatchkeyCredentialError) this.#deps.onError(failure);
    if (this.#opening !== undefined) return;
    this.#openLater();
    this.#settle(this.#state === "waiting" ? failure : undefined);
  }

  #stateAfter(error: unknown, wasUp: boolean): StreamState {
    if (this.#current !== undefined) return "open";
    if (this.#opening !== undefined) return "opening";
    if (isOlderService(error)) return "older service";
    return !wasUp && isOverloaded(error) ? "no stream" : "waiting";
  }

  #openLater(): void {
    const { timers, random } = this.#deps;
    const isOlder = this.#state === "older service";
    const longestMs = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** this.#failures++);
    // A newer service may take the place of the older one: it is asked as seldom as a stream is replaced.
    const pauseMs = isOlder ? LEAST_LIFE_MS + random() * LIFE_SPREAD_MS : random() * longestMs;
    this.#cancelNext();
    this.#cancelNext = timers.after(pauseMs, () => this.#open());
  }

  #become(state: StreamState): void {
    if (this.#state === state || this.#state === "closed") return;
    this.#state = state;
    this.#deps.onState(state);
  }

  #settle(error: Error | undefined): void {
    for (const waiter of this.#waiters.splice(0)) {
      if (error === undefined) waiter.resolve();
      else waiter.reject(error);
    }
  }
}

/** One call of WatchRevocations, or two if the credential was refused. */
class Attempt {
  readonly #timers: Timers;
  readonly #controller = new AbortController();
  #cancelSilence: () => void = () => {};
  #cancelStable: () => void = () => {};
  cursor = "";
  isSilent = false;

  constructor(timers: Timers) {
    this.#timers = timers;
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  get isStopped(): boolean {
    return this.#controller.signal.aborted;
  }

  /** The attempt ends if no message comes for SILENT_MS. */
  awaitMessage(): void {
    this.#cancelSilence();
    this.#cancelSilence = this.#timers.after(SILENT_MS, () => {
      this.isSilent = true;
      this.#controller.abort();
    });
  }

  onStable(cancel: () => void): void {
    this.#cancelStable = cancel;
  }

  stop(): void {
    this.#cancelSilence();
    this.#cancelStable();
    this.#controller.abort();
  }
}

/** The service sends no epoch: it is older than near verification. */
class OlderService extends Error {}

function isOlderService(error: unknown): boolean {
  return error instanceof OlderService || (error instanceof ConnectError && error.code === Code.Unimplemented);
}

function isRefusedCursor(error: unknown): boolean {
  return error instanceof ConnectError && error.code === Code.InvalidArgument;
}

function isOverloaded(error: unknown): boolean {
  return error instanceof ConnectError && error.findDetails(ErrorInfoSchema)[0]?.reason === "OVERLOADED";
}

function silent(): LatchkeyUnavailable {
  return new LatchkeyUnavailable(`the stream of changes had no message for ${SILENT_MS} ms`);
}

function failureOf(error: unknown): Error {
  return error === undefined ? new LatchkeyUnavailable("the service ended the stream of changes") : errorOf(error);
}
