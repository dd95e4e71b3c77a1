import type { AgeClock } from "../lib/clock.ts";
import { DomainError, databaseUnavailable } from "../lib/errors.ts";
import { ownText } from "../lib/text.ts";
import type { Change, ChangeKind, Copy, FeedProof } from "./change.ts";
import type { DatabaseBreaker } from "./database-breaker.ts";
import { FRESH_MS, isFresh } from "./freshness.ts";
import { type Entry, KeptRecords, type KeptRecordsOptions } from "./kept-records.ts";
import { RecentChanges } from "./recent-changes.ts";

/**
 * WHAT CHANGED. Keeps every copy of the database's data fresh.
 *
 *   change.ts            what a change is, and the bus that tells the copies
 *   change-feed.ts       polls the log of changes, and proves as of when the copies are true
 *   change-store.ts      what the feed needs from the database
 *   record-cache.ts      copies of records, by the id that callers request
 *   kept-records.ts      the bounded memory of those copies
 *   tags.ts              finds copies by the ids that they depend on
 *   recent-changes.ts    remembers what changed while a record was read
 *   freshness.ts         how old a copy may be, also after this machine was suspended
 *   watch-changes.ts     the same feed for clients that keep verdicts
 *   cursor-text.ts       a client's place in the feed, as text
 *   database-clock.ts    the time by which verdicts are judged
 *   database-breaker.ts  the circuit breaker of the database
 *   stall-watch.ts       notices that this process stood still, so that a timeout is not blamed on the database
 *
 * The room keeps records, never verdicts: state and expiry are judged at each use.
 */

export interface RecordCacheOptions<R> extends KeptRecordsOptions<R> {
  readonly clock: AgeClock;
  /** Proves the time and the position as of which the copies are true. */
  readonly feed: FeedProof;
  readonly breaker: DatabaseBreaker;
  /** How much older than FRESH_MS a served record may be while the database is unreachable; 0 = not at all. */
  readonly staleOkMs: number;
  /**
   * The kinds of changes whose subject is the thing that a record describes. A change of an owner concerns every record
   * too, but no absence. The cache ignores all other kinds.
   */
  readonly kinds: readonly ChangeKind[];
}

/** A record or its absence, and how old that knowledge is. */
export interface Loaded<R> {
  readonly record: R | undefined;
  /** The time, by `elapsedMs`, as of which this is true. */
  readonly asOfMs: number;
  /** The record includes all changes of lower position. */
  readonly position: bigint;
  /** The maximum age of any record served at that moment. */
  readonly maxStalenessMs: number;
  readonly source: "cache" | "database";
}

/** The arguments of `get`. */
interface Wanted<R> {
  readonly id: string;
  readonly load: () => Promise<R | undefined>;
  readonly subjectId: string;
  readonly turn: ReadTurn;
}

/** Says whether a read may go to the database now. `true` may use up the breaker's probe, so ask it last. */
export type ReadTurn = () => boolean;

/** A read that is under way. All callers that request the same record share it (single-flight). */
interface Flight<R> extends Pick<Wanted<R>, "subjectId"> {
  readonly readAtMs: number;
  readonly landing: Promise<Entry<R>>;
}

/**
 * A bounded cache of one kind of record, with single-flight reads and negative entries.
 *
 * A record is true as of its own read or of the feed's last successful poll, whichever is later. A record that is up to
 * FRESH_MS old is served from memory; an older one is read again. If that read fails, the cache serves the old record
 * as stale, for at most `staleOkMs` more.
 *
 * Concurrent misses of one record share one read. The cache keeps the result only if nothing that the record depends on
 * has changed since the read began. So an old row is never stored after the news that it changed.
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

  /** The maximum age of any record served at the moment. */
  get maxStalenessMs(): number {
    return this.#options.breaker.isOpen ? FRESH_MS + this.#options.staleOkMs : FRESH_MS;
  }

  /** The record if it is kept and fresh, without waiting. */
  fresh(id: string): Loaded<R> | undefined {
    const kept = this.#kept.record(id);
    if (kept !== undefined)
      return isFresh(this.#options.clock, this.#asOf(kept)) ? this.#serve(kept, "cache") : undefined;
    const absent = this.#kept.absence(id);
    if (absent === undefined || !isFresh(this.#options.clock, absent.readAtMs)) return undefined;
    return this.#serveAsRead(absent, "cache");
  }

  /**
   * The record, from memory if it is fresh, otherwise by `load`.
   *
   * @param load reads the record from the database; undefined means that it does not exist
   * @param subjectId the thing that the record describes, as changes name it; an absence ends when this thing changes
   * @param turn shared by records that one statement reads, see `oneTurn`
   * @throws DATABASE_UNAVAILABLE if the record can't be read and no copy may be served; any other error of `load`
   */
  get(
    id: string,
    load: () => Promise<R | undefined>,
    subjectId = id,
    turn: ReadTurn = this.#ownTurn,
  ): Promise<Loaded<R>> {
    return this.#get({ id, load, subjectId, turn }, false);
  }

  /**
   * For several records that one statement reads: while the breaker is open, all of them may try the database, or none.
   */
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

  /** Forgets everything, and keeps no result of a read that is under way. */
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
      // A caller that can be served does not wait for the probe.
      if (mayRead && stale !== undefined) this.#fly(wanted).landing.catch(() => {});
      if (stale !== undefined) return stale;
      if (!mayRead) throw databaseUnavailable();
    }
    const flight = this.#flights.get(id) ?? this.#fly(wanted);
    let entry: Entry<R>;
    try {
      entry = await flight.landing;
    } catch (error) {
      if (!isUnavailable(error)) throw error;
      // Only once: while the database is unreachable, a slow process must not make its callers wait round after round.
      if (!isRetry && breaker.stalls.hasStalledSince(flight.readAtMs)) return this.#again(wanted, true);
      breaker.failed();
      const kept = this.#stale(id);
      if (kept === undefined) throw error;
      return kept;
    }
    // Discards a result from before a failover, or one that waited over FRESH_MS because this process stood still.
    if (this.#changes.allChanged(entry.changeCount) || !isFresh(this.#options.clock, this.#asOf(entry))) {
      return this.#again(wanted, isRetry);
    }
    return this.#kept.has(id, entry) ? this.#serve(entry, "database") : this.#serveAsRead(entry, "database");
  }

  /** Reads again with a permit of its own, because the statement that it shared is over. */
  #again(wanted: Wanted<R>, isRetry: boolean): Promise<Loaded<R>> {
    return this.#get({ ...wanted, turn: this.#ownTurn }, isRetry);
  }

  /** A kept record is true as of the feed's last successful poll, which would otherwise have dropped it. */
  #serve(entry: Entry<R>, source: Loaded<R>["source"]): Loaded<R> {
    const { record } = entry;
    const { position } = this.#options.feed;
    return { record, asOfMs: this.#asOf(entry), position, maxStalenessMs: this.maxStalenessMs, source };
  }

  /** A result that is not kept, or that a change overtook, is only as fresh as its own read. */
  #serveAsRead({ record, readAtMs, position }: Entry<R>, source: Loaded<R>["source"]): Loaded<R> {
    return { record, asOfMs: readAtMs, position, maxStalenessMs: this.maxStalenessMs, source };
  }

  /** The kept record, if it may be served while the database is unreachable. */
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

  /** A read of the subject that is under way still answers its present callers; later callers start a new read. */
  #detach(subjectId: string): void {
    for (const [id, flight] of this.#flights) if (flight.subjectId === subjectId) this.#flights.delete(id);
  }
}

function isUnavailable(error: unknown): boolean {
  return error instanceof DomainError && error.reason === "DATABASE_UNAVAILABLE";
}
