import { HOUR_MS } from "../lib/clock.ts";
import { Lru } from "../lib/lru.ts";

/** The rooms of subjects: accounts and credentials that exist, accounts that don't exist, and networks. */
export type RefusalRoomName = "known" | "unknown" | "network";

/** Maximum events that one level of a room may begin in an hour. */
export const PLACES_PER_LEVEL: Readonly<Record<RefusalRoomName, number>> = { known: 100, unknown: 16, network: 16 };
/** Levels begin at 1, 4, 16, 64, 256 and 1,024 refusals of one subject. */
export const LEVELS = 6;
/**
 * Maximum subjects of an hour that are counted separately. Beyond it the room forgets the subject that was refused
 * longest ago.
 */
export const MAX_SUBJECTS = 10_000;

/** The place of one refusal on the audit trail. */
export interface Placed {
  /** Whether its subject has an event of its own in this hour. Otherwise the room's shared event counts it. */
  readonly isOwn: boolean;
  /** Earlier refusals of this hour that the shared event counts; above 0 only when the subject gets its own event. */
  readonly countedBefore: number;
}

interface Subject {
  refusals: number;
  isOwn: boolean;
}

/**
 * Decides which subjects of one kind and room get an event of their own. Each level has a bounded number of places for
 * such events in an hour. A subject may take a place of any level that it has reached. So a flood of subjects with few
 * refusals each fills only the lower levels, and leaves places for subjects with more refusals.
 */
export class RefusalRoom {
  readonly #placesPerLevel: number;
  readonly #subjects = new Lru<string, Subject>(MAX_SUBJECTS);
  #hour = Number.NaN;
  #taken: number[] = [];

  constructor(name: RefusalRoomName) {
    this.#placesPerLevel = PLACES_PER_LEVEL[name];
  }

  /** Counts one refusal of a subject. @param nowMs since the epoch; counts and places start again with each hour */
  enter(about: string, nowMs: number): Placed {
    this.#beginHour(Math.floor(nowMs / HOUR_MS));
    const subject = this.#subjects.get(about) ?? { refusals: 0, isOwn: false };
    this.#subjects.set(about, subject);
    subject.refusals++;
    if (subject.isOwn) return { isOwn: true, countedBefore: 0 };
    subject.isOwn = this.#takePlace(levelOf(subject.refusals));
    return { isOwn: subject.isOwn, countedBefore: subject.isOwn ? subject.refusals - 1 : 0 };
  }

  #takePlace(level: number): boolean {
    const free = this.#taken.findIndex((taken, at) => at <= level && taken < this.#placesPerLevel);
    if (free < 0) return false;
    this.#taken[free]!++;
    return true;
  }

  #beginHour(hour: number): void {
    if (hour === this.#hour) return;
    this.#hour = hour;
    this.#taken = Array<number>(LEVELS).fill(0);
    this.#subjects.clear();
  }
}

function levelOf(refusals: number): number {
  // The logarithm to base 4, rounded down.
  return Math.min((31 - Math.clz32(refusals)) >> 1, LEVELS - 1);
}
