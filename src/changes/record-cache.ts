import type { AgeClock } from "../lib/clock.ts";
import { DomainError } from "../lib/errors.ts";
import { ownText } from "../lib/text.ts";
import type { Change, ChangeKind, Copy, FeedProof } from "./change.ts";
import type { DatabaseBreaker } from "./database-breaker.ts";
import { FRESH_MS, isFresh } from "./freshness.ts";
import { type Entry, KeptRecords, type KeptRecordsOptions } from "./kept-records.ts";
import { RecentChanges } from "./recent-changes.ts";

/**
 * WHAT CHANGED. Keeps every copy of the truth fresh.
 *
 *   change.ts            what a change is, and the bus by which copies learn of it
 *   change-feed.ts       reads the log of changes: what is fresh as of when
 *   change-store.ts      what the feed needs of the database
 *   record-cache.ts      copies of records, by what they are asked for; kept-records.ts holds them, tags.ts finds them by
 *                        what they depend on, recent-changes.ts knows what changed while they were read
 *   freshness.ts         how old a copy may be, also after this machine was suspended
 *   watch-changes.ts     the same feed for clients that keep verdicts
 *   cursor-text.ts       where a client stands, as text
 *   database-clock.ts    the time that verdicts are judged by
 *   database-breaker.ts  whether the database is worth asking; stall-watch.ts: or whether this process stood still
 *
 * Only records are kept, never verdicts: state and expiry are judged at each use.
 */

export interface RecordCacheOptions<R> extends KeptRecordsOptions<R> {
  readonly clock: AgeClock;
  /** Proves that copies are as of a time and a position. */
  readonly feed: FeedProof;
  readonly breaker: DatabaseBreaker;
  /** How much older than FRESH_MS a record may be served while the database is away; 0 = not at all. */
  readonly staleOkMs: number;
  /**
   * Kinds of changes whose subject is the very thing that a record is of. Owners concern every record besides, and no
   * absence; what else changes is none of this cache's business.
   */
  readonly kinds: readonly ChangeKind[];
}

/** A record, or its absence, and how old that knowledge is. */
export interface Loaded<R> {
  readonly record: R | undefined;
  /** `elapsedMs` of the clock as of which this is true. */
  readonly asOfMs: number;
  /** All changes of lower position are in the record. */
  readonly position: bigint;
  /** No record older than this was served at the moment. */
  readonly maxStalenessMs: number;
  readonly source: "cache" | "database";
}

/** As `get` takes it. */
interface Wanted<R> {
  readonly id: string;
  readonly load: () => Promise<R | undefined>;
  readonly subjectId: string;
  readonly turn: ReadTurn;
}

/** Says whether a read may go to the database now; asking may take the turn, so it is asked last. */
export type ReadTurn = () => boolean;

/** A read that is under way. */
interface Flight<R> extends Pick<Wanted<R>, "subjectId"> {
  readonly readAtMs: number;
  readonly landing: Promise<Entry<R>>;
}

/**
 * A bounded cache in front of one kind of record. A record is as of the later of its own read and the feed's last good
 * poll; up to FRESH_MS old it is served without asking, older it is read again, and if that fails it is served as stale,
 * for as long as `staleOkMs` allows. Misses load once, however many ask at the same time. A read is kept only if nothing
 * that its record depends on has changed since it began: an old row can't be stored after the news that it is old.
 */
export class RecordCache<R> implements Copy {
  readonly #options: RecordCacheOptions<R>;
  readonly #kept: KeptRecords<R>;
  readonly #flights = new Map<string, Flight<R>>();
  readonly #changes = new RecentChanges();
  readonly #ownTurn: ReadTurn = () => this.#options.breaker.mayRead();

  constructor(options: RecordCacheOptions<R>) {
    this.#options = options;
    this.#kept = new KeptRecords(options);
  }

  get size(): number {
    return this.#kept.size;
  }

  /** No record older than this is served at the moment. */
  get maxStalenessMs(): number {
    return this.#options.breaker.isOpen ? FRESH_MS + this.#options.staleOkMs : FRESH_MS;
  }

  /** The record if it is kept and fresh, without any waiting. */
  fresh(id: string): Loaded<R> | undefined {
    const kept = this.#kept.record(id);
    if (kept !== undefined)
      return isFresh(this.#options.clock, this.#asOf(kept)) ? this.#serve(kept, "cache") : undefined;
    const absent = this.#kept.absence(id);
    if (absent === undefined || !isFresh(this.#options.clock, absent.readAtMs)) return undefined;
    return this.#serveAsRead(absent, "cache");
  }

  /**
   * The record, from memory if it is fresh, else by `load`.
   *
   * @param load reads the truth; undefined means that there is no such record
   * @param subjectId what the record is of, as changes name it: what does not exist stays so until that changes
   * @param turn of those that are one read together, see `oneTurn`
   * @throws DATABASE_UNAVAILABLE if it can't be read and no copy may be served; what else `load` throws
   */
  get(
    id: string,
    load: () => Promise<R | undefined>,
    subjectId = id,
    turn: ReadTurn = this.#ownTurn,
  ): Promise<Loaded<R>> {
    return this.#get({ id, load, subjectId, turn }, false);
  }

  /** For several records that one statement reads: while the database is away they try it together, or none does. */
  oneTurn(): ReadTurn {
    let mayRead: boolean | undefined;
    return () => (mayRead ??= this.#ownTurn());
  }

  apply({ kind, subjectId }: Change): void {
    if (kind === "OWNER") this.#flights.clear();
    else if (this.#options.kinds.includes(kind)) this.#detach(subjectId);
    else return;
    this.#changes.note(subjectId);
    this.#kept.removeAllOf(subjectId);
  }

  /** Forgets one record. */
  drop(id: string): void {
    this.#flights.delete(id);
    this.#kept.remove(id);
  }

  /** Forgets everything; no read that is under way is kept. */
  clear(): void {
    this.#changes.noteAll();
    this.#flights.clear();
    this.#kept.clear();
  }

  async #get(wanted: Wanted<R>, isRetry: boolean): Promise<Loaded<R>> {
    const { id } = wanted;
    const fresh = this.fresh(id);
    if (fresh !== undefined) return fresh;
    const { breaker } = this.#options;
    const stale = this.#stale(id);
    if (breaker.isOpen) {
      const mayRead = wanted.turn();
      // Whoever can be served does not wait for the read that tries.
      if (mayRead && stale !== undefined) this.#fly(wanted).landing.catch(() => {});
      if (stale !== undefined) return stale;
      if (!mayRead) throw unavailable();
    }
    const flight = this.#flights.get(id) ?? this.#fly(wanted);
    let entry: Entry<R>;
    try {
      entry = await flight.landing;
    } catch (error) {
      if (!isUnavailable(error)) throw error;
      // Once: while the database is away, a process that is slow as well must not wait for it round after round.
      if (!isRetry && breaker.stalls.hasStalledSince(flight.readAtMs)) return this.#again(wanted, true);
      breaker.failed();
      const kept = this.#stale(id);
      if (kept === undefined) throw error;
      return kept;
    }
    // What was read from a history that is gone, or waited for this process to run again, is nobody's answer.
    if (this.#changes.allChanged(entry.changeCount) || !isFresh(this.#options.clock, this.#asOf(entry))) {
      return this.#again(wanted, isRetry);
    }
    return this.#kept.has(id, entry) ? this.#serve(entry, "database") : this.#serveAsRead(entry, "database");
  }

  /** Later, when nobody else's read is this one's. */
  #again(wanted: Wanted<R>, isRetry: boolean): Promise<Loaded<R>> {
    return this.#get({ ...wanted, turn: this.#ownTurn }, isRetry);
  }

  /** What is kept is as of the feed's last good poll, which would have dropped it otherwise. */
  #serve(entry: Entry<R>, source: Loaded<R>["source"]): Loaded<R> {
    const { record } = entry;
    const { position } = this.#options.feed;
    return { record, asOfMs: this.#asOf(entry), position, maxStalenessMs: this.maxStalenessMs, source };
  }

  /** What a change overtook on its way, or nobody keeps, says nothing beyond its own read. */
  #serveAsRead({ record, readAtMs, position }: Entry<R>, source: Loaded<R>["source"]): Loaded<R> {
    return { record, asOfMs: readAtMs, position, maxStalenessMs: this.maxStalenessMs, source };
  }

  /** The kept record if it is not too old to be served while the database is away. */
  #stale(id: string): Loaded<R> | undefined {
    const { staleOkMs } = this.#options;
    const entry = staleOkMs === 0 ? undefined : this.#kept.peekRecord(id);
    if (entry === undefined) return undefined;
    const ageMs = this.#options.clock.elapsedMs() - this.#asOf(entry);
    return ageMs < FRESH_MS + staleOkMs ? this.#serve(entry, "cache") : undefined;
  }

  #asOf(entry: Entry<R>): number {
    return Math.max(entry.readAtMs, this.#options.feed.freshAtMs);
  }

  #fly({ id, load, subjectId }: Wanted<R>): Flight<R> {
    const { breaker, feed } = this.#options;
    const readAtMs = breaker.stalls.begin();
    const { position } = feed;
    const changeCount = this.#changes.begin();
    const landing = load().then(
      (record) => {
        breaker.succeeded();
        const read = { record, readAtMs, position, changeCount };
        const entry = record === undefined ? { ...read, subjectId: ownText(subjectId) } : read;
        const isOvertaken = this.#changes.haveChanged(this.#kept.tagsOf(entry), changeCount);
        this.#land(id, flight);
        if (!isOvertaken) this.#kept.keep(id, entry);
        return entry;
      },
      (error: unknown) => {
        this.#land(id, flight);
        throw error;
      },
    );
    const flight = { subjectId, readAtMs, landing };
    this.#flights.set(id, flight);
    return flight;
  }

  #land(id: string, flight: Flight<R>): void {
    if (this.#flights.get(id) === flight) this.#flights.delete(id);
    this.#options.breaker.stalls.end();
    this.#changes.end();
  }

  /** What is being read of this serves who waits for it; later callers start a new read. */
  #detach(subjectId: string): void {
    for (const [id, flight] of this.#flights) if (flight.subjectId === subjectId) this.#flights.delete(id);
  }
}

function isUnavailable(error: unknown): boolean {
  return error instanceof DomainError && error.reason === "DATABASE_UNAVAILABLE";
}

function unavailable(): DomainError {
  return new DomainError("DATABASE_UNAVAILABLE", "the database is out of reach; try again", { retryAfterMs: 1000 });
}
