import { type Clock, systemClock } from "../../lib/clock.ts";
import { constantError, DomainError } from "../../lib/errors.ts";
import { Histograms, SECONDS } from "../../lib/histogram.ts";
import { whenSilent } from "../../lib/when-silent.ts";
import { FairGate, type GateGuest } from "../../shares/fair-gate.ts";
import { type Asker, CALLER_CLASSES, type CallerClass, classOf, type Holder, isKind } from "../../shares/holder.ts";
import { NamedLocks } from "../../shares/named-locks.ts";
import { noAnswer, tookTooLong } from "../errors/driver-errors.ts";

/** Maximum transactions of one caller under way at a time. */
const MOST_OF_ONE = 4;
/**
 * Maximum transactions of one caller under way while other callers ask too. With four, one caller keeps two cores busy,
 * the database's part included, and every call of the others becomes slower.
 */
const MOST_OF_ONE_SHARED = 2;
/** Time for which a caller counts as asking after its last transaction began to wait. */
const ASKING_MS = 1000;
/** The part of the connections that all anonymous calls may use together, because anyone can send them at no cost. */
const ANONYMOUS_PART = 0.3;
/** Maximum waiting calls of one caller, or of one network of anonymous calls. */
const MOST_WAITING = 100;
/** Maximum waiting calls of one kind among these. */
const MOST_WAITING_OF_KIND = 80;
/** Maximum waiting calls in total. Above it, a call of the caller with the most waiting calls fails. */
const MOST_WAITING_IN_ALL = 4000;
/** If the database answers nothing at all for this time while a call waits, it counts as unreachable. */
const SILENCE_MS = 2000;
/** Maximum wait while the database answers. */
const MAX_WAIT_MS = 5000;
const RETRY_AFTER_MS = 1000;
const OVERLOADED = constantError("OVERLOADED", "too many calls wait for the database; try again", {
  retryAfterMs: RETRY_AFTER_MS,
});

/**
 * Admission to the management connections: a fair semaphore by caller, then locks, then a fair semaphore of
 * connections. A connection is the scarcest of the three and is taken last. So no call holds a connection while it
 * waits for its turn or for a lock of this process. Each caller has its own queue, and both semaphores serve callers in
 * turn (round robin).
 */
export class ManagementTurns {
  readonly #shares: FairGate;
  readonly #locks = new NamedLocks();
  readonly #connections: FairGate;
  readonly #askers: RecentAskers;
  readonly #clock: Pick<Clock, "monotonicMs">;
  /** Time for which calls waited for their share, locks and a connection, by class, in seconds; also in vain. */
  readonly waitSeconds = new Histograms<CallerClass>(SECONDS, CALLER_CLASSES);
  /** Number of calls since the start that were refused, or gave up, because too many waited. */
  refused = 0;
  #waiting = 0;
  #answers = 0;

  /** @param connections size of the pool */
  constructor(connections: number, clock: Pick<Clock, "monotonicMs"> = systemClock) {
    this.#clock = clock;
    this.#askers = new RecentAskers(clock);
    const ofAnonymous = Math.max(1, Math.floor(connections * ANONYMOUS_PART));
    const mostPlaces =
      (ofOne: number) =>
      ([widest, ...narrower]: readonly string[]) => {
        const ofNetwork = Math.min(ofOne, Math.max(1, ofAnonymous - 1));
        if (widest === "anonymous") return narrower.length === 0 ? ofAnonymous : ofNetwork;
        if (narrower.length === 0) return Number.POSITIVE_INFINITY;
        // The service's own work keeps its share.
        return Math.min(widest === "itself" ? MOST_OF_ONE : ofOne, Math.max(1, connections - 1));
      };
    this.#shares = new FairGate({
      places: Number.POSITIVE_INFINITY,
      mostPlaces: mostPlaces(MOST_OF_ONE),
      mostPlacesShared: mostPlaces(MOST_OF_ONE_SHARED),
      mostWaiting: (group) => {
        if (group[0] === "itself" || group.length === 1) return Number.POSITIVE_INFINITY;
        return isKind(group) ? MOST_WAITING_OF_KIND : MOST_WAITING;
      },
      queue: MOST_WAITING_IN_ALL,
    });
    const noBound = () => Number.POSITIVE_INFINITY;
    this.#connections = new FairGate({
      places: connections,
      mostPlaces: noBound,
      mostWaiting: noBound,
      queue: Number.POSITIVE_INFINITY,
    });
  }

  /** Number of calls that wait for their share, for a lock, or for a connection. */
  get waiting(): number {
    return this.#waiting;
  }

  /** Notes that the database has answered a statement of management. */
  answered(): void {
    this.#answers++;
  }

  /**
   * Runs `work`, which may use one connection, when its turn has come.
   *
   * @param locks names that no other work of this process holds at the same time
   * @throws OVERLOADED if too many calls of this caller wait, or after MAX_WAIT_MS; DATABASE_UNAVAILABLE if the
   *   database answered nothing for SILENCE_MS of the wait; the signal's reason if the call ended first
   */
  async run<T>(asker: Asker, locks: readonly string[], work: () => Promise<T>): Promise<T> {
    const { holder, signal, isUnderWay } = asker;
    signal?.throwIfAborted();
    const visit = new Visit(this, { signal, onBegin: this.#timerOf(holder) });
    this.#shares.isShared = this.#askers.note(holder);
    try {
      await visit.enter((guest) => this.#shares.enter(holder, guest, isUnderWay));
      if (locks.length > 0) await visit.enter(({ onEnter }) => this.#locks.enter(locks, onEnter));
      await visit.enter((guest) => this.#connections.enter(holder, guest));
      visit.begin();
      return await this.#blameLoad(work);
    } finally {
      visit.leave();
    }
  }

  /** Returns a function that counts the time since now as a wait of the holder. */
  #timerOf(holder: Holder): () => void {
    const askedAtMs = this.#clock.monotonicMs();
    return () => this.waitSeconds.of(classOf(holder)).observeMs(this.#clock.monotonicMs() - askedAtMs);
  }

  /** Reports a timeout as an overload if the database answered other calls meanwhile: then it is reachable. */
  async #blameLoad<T>(work: () => Promise<T>): Promise<T> {
    const answers = this.#answers;
    try {
      return await work();
    } catch (error) {
      if (this.#answers === answers || !(error instanceof DomainError) || !tookTooLong(error)) throw error;
      throw new DomainError("OVERLOADED", OVERLOADED.message, { retryAfterMs: RETRY_AFTER_MS, cause: error });
    }
  }

  /** @internal only for Visit. Counts a refusal, and returns its error. */
  refuse(): DomainError {
    this.refused++;
    return OVERLOADED;
  }

  /** @internal only for Visit. @returns ends the wait */
  beginWait(fail: (error: unknown) => void): () => void {
    this.#waiting++;
    const answers = this.#answers;
    const { promise: begun, resolve } = Promise.withResolvers<void>();
    whenSilent(begun, SILENCE_MS, () => {
      if (this.#answers === answers) fail(noAnswer());
    });
    whenSilent(begun, MAX_WAIT_MS, () => fail(this.refuse()));
    return () => {
      this.#waiting--;
      resolve();
    };
  }
}

/** Tells whether several callers asked within the last ASKING_MS. The service's own work is no caller. */
class RecentAskers {
  readonly #clock: Pick<Clock, "monotonicMs">;
  #latest: { name: string; atMs: number } | undefined;
  /** When the last caller before `#latest` asked. */
  #otherAtMs = Number.NEGATIVE_INFINITY;

  constructor(clock: Pick<Clock, "monotonicMs">) {
    this.#clock = clock;
  }

  /** A transaction of this holder asks. @returns whether two callers have asked within the last ASKING_MS */
  note([kind, name = ""]: Holder): boolean {
    const nowMs = this.#clock.monotonicMs();
    if (kind !== "itself") {
      const caller = `${kind} ${name}`;
      if (this.#latest !== undefined && this.#latest.name !== caller) this.#otherAtMs = this.#latest.atMs;
      this.#latest = { name: caller, atMs: nowMs };
    }
    return nowMs - this.#otherAtMs < ASKING_MS;
  }
}

interface Pass {
  leave(): void;
}

/** One call's way to a connection. */
class Visit {
  readonly #turns: ManagementTurns;
  readonly #signal: AbortSignal | undefined;
  #onBegin: (() => void) | undefined;
  /** The places and locks that the call holds or waits for. They are released from the last to the first. */
  readonly #passes: Pass[] = [];
  #endWait: (() => void) | undefined;
  #fail: (error: unknown) => void = () => {};

  /** @param onBegin called once, when the call has everything that it needs, or gives up */
  constructor(turns: ManagementTurns, { signal, onBegin }: { signal: AbortSignal | undefined; onBegin: () => void }) {
    this.#turns = turns;
    this.#signal = signal;
    this.#onBegin = onBegin;
  }

  /** Takes a place or locks, and resolves when it has them. */
  async enter(take: (guest: GateGuest) => Pass | undefined): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    let isIn = false;
    const onEnter = () => {
      isIn = true;
      resolve();
    };
    const pass = take({ onEnter, onGiveWay: () => reject(this.#turns.refuse()) });
    if (pass === undefined) throw this.#turns.refuse();
    this.#passes.push(pass);
    if (isIn) return;
    this.#fail = reject;
    if (this.#endWait === undefined) this.#beginWait();
    await promise;
  }

  /** Ends the wait: the call has everything that it needs. */
  begin(): void {
    this.#endWait?.();
    this.#endWait = undefined;
    this.#onBegin?.();
    this.#onBegin = undefined;
  }

  leave(): void {
    this.begin();
    for (const pass of this.#passes.reverse()) pass.leave();
  }

  #beginWait(): void {
    const giveUp = () => this.#fail(this.#signal?.reason);
    const end = this.#turns.beginWait((error) => this.#fail(error));
    this.#signal?.addEventListener("abort", giveUp, { once: true });
    this.#endWait = () => {
      end();
      this.#signal?.removeEventListener("abort", giveUp);
    };
  }
}
