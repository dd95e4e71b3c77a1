import { type Change, Change_Kind as Kind } from "../../../src/gen/latchkey/v1/change_pb.ts";
import type { WatchRevocationsResponse } from "../../../src/gen/latchkey/v1/key_service_pb.ts";
import type { AgeClock } from "../../../src/lib/clock.ts";
import { EndedSessions } from "./ended-sessions.ts";
import type { AppliedMessage, StreamAttempt } from "./stream-attempt.ts";
import { DRIFT, durationMs, timestampMs } from "./times.ts";
import { ToldChanges } from "./told-changes.ts";

/** The copies that a message makes out of date. */
export interface Copies {
  /** Drops what may lack the change of a key or an owner at a position. */
  dropChanged(subjectId: string, position: number): void;
  /** Drops everything, also the answers that are under way. */
  dropAll(): void;
}

/** How an answer stands to what the stream has told. */
export type Standing =
  /** The stream tells every later change of it: it may be kept, and the stream keeps it fresh. */
  | "watched"
  /** The stream can't vouch for it, and none lives: it may be kept by its own age. */
  | "by_own_age"
  /** It may lack a change that was told already, or a living stream can't vouch for it. */
  | "refused";

/** An answer, as the stream's knowledge judges it. */
export interface Dated {
  readonly epoch: bigint;
  readonly position: number;
}

/**
 * The knowledge from the stream of changes: its history (epoch), its position and its age. Two attempts may live at
 * once, because the next one is up before the last one ends.
 *
 * Positions compare within one epoch. There, no floor goes down and no told change is forgotten at a resync. So a
 * message of one attempt also vouches for what was kept under the other one.
 */
export class StreamKnowledge {
  readonly sessions = new EndedSessions();
  readonly #clock: AgeClock;
  readonly #copies: Copies;
  readonly #told = new ToldChanges();
  /** Attempts that have spoken and not ended. */
  readonly #living = new Set<StreamAttempt>();
  #attempts = 0;
  /** 0 before a stream that tells one. */
  #epoch = 0n;
  /** The number of the attempt that began this epoch. Older ones of another epoch are outdated. */
  #epochBy = 0;
  /** Whether a whole message has come since the last start or resync. */
  #isWhole = false;
  #areSessionsWhole = false;
  #floor = 0;
  #trueAtMs = Number.NEGATIVE_INFINITY;
  #cursor = "";

  constructor(clock: AgeClock, copies: Copies) {
    this.#clock = clock;
    this.#copies = copies;
  }

  /** The cursor of the last whole message; "" before the first. */
  get cursor(): string {
    return this.#cursor;
  }

  /** The epoch of the stream's positions; 0 before a stream that tells one. */
  get epoch(): bigint {
    return this.#epoch;
  }

  /** `elapsedMs` of the moment up to which every change was told; `-Infinity` if it is not known. */
  get trueAtMs(): number {
    return this.#trueAtMs;
  }

  open(cursor: string): StreamAttempt {
    // Read first, because it notices a suspension.
    const openedAtMs = this.#clock.elapsedMs();
    const { skippedMs } = this.#clock;
    return { number: ++this.#attempts, cursor, openedAtMs, skippedMs, epoch: undefined, hasEnded: false };
  }

  ended(attempt: StreamAttempt): void {
    attempt.hasEnded = true;
    this.#living.delete(attempt);
  }

  standingOf(answer: Dated, subjectIds: readonly string[]): Standing {
    const isSameHistory = answer.epoch !== 0n && answer.epoch === this.#epoch;
    // Positions of another epoch do not compare: such an answer may lack whatever was told of its subjects.
    const position = isSameHistory ? answer.position : 0;
    if (subjectIds.some((id) => position < this.#told.positionOf(id))) return "refused";
    if (isSameHistory && this.#isWhole && answer.position > 0 && answer.position >= this.#mostFloor) return "watched";
    return this.#living.size === 0 ? "by_own_age" : "refused";
  }

  /** As NearCache.sessionEnded. */
  sessionEnded(sessionId: string, issuedAtMs: number): boolean | undefined {
    if (this.sessions.has(sessionId)) return true;
    return this.#areSessionsWhole && !this.sessions.mayHaveForgotten(issuedAtMs) ? false : undefined;
  }

  /** Applies a message in one turn: resync, changes, then position, age and cursor. */
  apply(attempt: StreamAttempt, message: WatchRevocationsResponse): AppliedMessage {
    const { changes, cursor, epoch } = message;
    const isWhole = cursor !== "";
    const resync = this.#isRestart(attempt, message);
    attempt.epoch = epoch;
    if (!attempt.hasEnded) this.#living.add(attempt);
    const isOutdated = epoch !== this.#epoch && attempt.number < this.#epochBy;
    if (resync) this.#restart(attempt, isOutdated);
    let mayChangeAll = resync;
    for (const change of changes) if (!this.#applyChange(change, message, isOutdated)) mayChangeAll = true;
    if (isWhole && !isOutdated) this.#advance(attempt, message);
    return { resync, mayChangeAll, changes, isWhole, epoch, position: message.position };
  }

  /** The floor of answers: lower ones may lack a change that was told before, and will not be told again. */
  get #mostFloor(): number {
    return Math.max(this.#floor, this.#told.forgottenTo);
  }

  #isRestart(attempt: StreamAttempt, { resync, epoch }: WatchRevocationsResponse): boolean {
    if (resync) return true;
    if (attempt.epoch === undefined) return attempt.cursor === "" || epoch !== this.#epoch;
    return epoch !== attempt.epoch;
  }

  #restart(attempt: StreamAttempt, isOutdated: boolean): void {
    this.#copies.dropAll();
    if (isOutdated) return;
    this.#isWhole = false;
    this.#areSessionsWhole = false;
    this.#trueAtMs = Number.NEGATIVE_INFINITY;
    if (attempt.epoch === this.#epoch) return;
    this.#epoch = attempt.epoch!;
    this.#epochBy = attempt.number;
    this.#floor = 0;
    this.#told.clear();
  }

  /** @returns whether this version knows the kind of the change */
  #applyChange(change: Change, { position }: WatchRevocationsResponse, isOutdated: boolean): boolean {
    const { kind, subjectId, changeTime } = change;
    const toldAt = Number(change.position === 0n ? position : change.position);
    switch (kind) {
      case Kind.KEY:
      case Kind.OWNER:
        // Positions of another epoch do not compare: then every copy of the subject goes.
        this.#copies.dropChanged(subjectId, isOutdated ? Number.POSITIVE_INFINITY : toldAt);
        if (!isOutdated) this.#told.note(subjectId, toldAt);
        return true;
      case Kind.SESSION:
        this.sessions.note(subjectId, changeTime === undefined ? Number.POSITIVE_INFINITY : timestampMs(changeTime));
        return true;
      case Kind.SERVICE_CREDENTIAL:
      case Kind.SIGNING_KEY:
        return true;
      default:
        this.#copies.dropAll();
        if (!isOutdated) this.#told.forgetTo(toldAt);
        return false;
    }
  }

  #advance(attempt: StreamAttempt, { cursor, position, epoch, asOfElapsed }: WatchRevocationsResponse): void {
    this.#cursor = cursor;
    this.#areSessionsWhole = true;
    if (epoch === 0n) return;
    if (!this.#isWhole) this.#floor = Math.max(this.#floor, Number(position));
    this.#isWhole = true;
    const nowMs = this.#clock.elapsedMs();
    // A suspension since the opening makes the time since then unknown.
    if (asOfElapsed === undefined || attempt.skippedMs !== this.#clock.skippedMs) return;
    this.#trueAtMs = Math.max(this.#trueAtMs, Math.min(nowMs, tellsOf(attempt.openedAtMs, durationMs(asOfElapsed))));
  }
}

/**
 * `elapsedMs` of the moment of which a message tells, never too late. The service has measured from the receipt of the
 * request, which is later than its sending, by a clock that may run fast.
 */
export function tellsOf(openedAtMs: number, asOfElapsedMs: number): number {
  return openedAtMs + asOfElapsedMs - Math.abs(asOfElapsedMs) * DRIFT;
}
