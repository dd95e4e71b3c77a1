import type { Clock } from "../lib/clock.ts";
import { DomainError } from "../lib/errors.ts";
import { Lru } from "../lib/lru.ts";
import type { Change, Copy } from "./change.ts";
import type { DatabaseBreaker } from "./database-breaker.ts";
import { Tags } from "./tags.ts";

/**
 * WHAT CHANGED. Keeps every copy of the truth fresh.
 *
 *   change.ts            what a change is, and the bus by which copies learn of it
 *   change-feed.ts       reads the log of changes: what is fresh as of when
 *   change-store.ts      what the feed needs of the database
 *   record-cache.ts      copies of records, by what they are asked for; tags.ts finds them by what they depend on
 *   watch-changes.ts     the same feed for clients that keep verdicts
 *   cursor-text.ts       where a client stands, as text
 *   database-clock.ts    the time that verdicts are judged by
 *   database-breaker.ts  whether the database is worth asking
 *
 * Only records are kept, never verdicts: state and expiry are judged at each use.
 */

export interface RecordCacheOptions<R> {
  readonly clock: Clock;
  /** Proves that copies are as of a time and a position. */
  readonly feed: FeedProof;
  readonly breaker: DatabaseBreaker;
  /** Most records kept; the one used longest ago goes first. */
  readonly maxEntries: number;
  /** Most bytes that they take, by what `of` says of each when it was read; undefined where all are small. */
  readonly bytes?: { readonly most: number; readonly of: (record: R) => number } | undefined;
  /** Most absences kept, apart from records so that junk can't push out good entries. */
  readonly maxAbsent: number;
  /** How much older than FRESH_MS a record may be served while the database is away; 0 = not at all. */
  readonly staleOkMs: number;
  /** What a record depends on, such as its key's and its owner's id. */
  readonly tagsOf: (record: R) => readonly string[];
}

/** What the feed proves of every copy that it did not drop. */
export interface FeedProof {
  /** Monotonic time as of which it is true. */
  readonly freshAtMs: number;
  /** All changes of lower position are in it. */
  readonly position: bigint;
}

/** A record, or its absence, and how old that knowledge is. */
export interface Loaded<R> {
  readonly record: R | undefined;
  /** Monotonic time as of which this is true. */
  readonly asOfMs: number;
  /** All changes of lower position are in the record. */
  readonly position: bigint;
  /** No record older than this was served at the moment. */
  readonly maxStalenessMs: number;
  readonly source: "cache" | "database";
}

interface Entry<R> {
  readonly record: R | undefined;
  /** When the read that brought it began, and what the feed proved then: both hold whatever came later. */
  readonly readAtMs: number;
  readonly position: bigint;
  readonly changeCount: number;
}

/** Oldest knowledge that is used while the database can be asked. */
export const FRESH_MS = 5000;
/** Reads fail within 300 ms. One that took longer says that this process stood still, and nothing about the database. */
const STOOD_STILL_MS = 300;

/**
 * A bounded cache in front of one kind of record. A record is as of the later of its own read and the feed's last good
 * poll; up to FRESH_MS old it is served without asking, older it is read again, and if that fails it is served as stale,
 * for as long as `staleOkMs` allows. Misses load once, however many ask at the same time.
 *
 * A read notes how many changes were known when it began, and is kept only if nothing that its record depends on has
 * changed since: an old row can't be stored after the news that it is old.
 */
export class RecordCache<R> implements Copy {
  readonly #options: RecordCacheOptions<R>;
  readonly #records: Lru<string, Entry<R>>;
  readonly #absent: Lru<string, Entry<R>>;
  readonly #flights = new Map<string, Promise<Entry<R>>>();
  readonly #idsByTag = new Tags();
  /** Number of changes so far; and, while reads are under way, the number at which each tag changed last. */
  #changeCount = 0;
  readonly #changedAt = new Map<string, number>();
  #clearedAt = 0;
  #readsUnderWay = 0;

  constructor(options: RecordCacheOptions<R>) {
    this.#options = options;
    const { maxEntries, bytes } = options;
    this.#records = new Lru(maxEntries, {
      bytes: bytes && { most: bytes.most, of: ({ record }) => bytes.of(record!) },
      onEvict: (id, entry) => this.#untag(id, entry),
    });
    this.#absent = new Lru(options.maxAbsent);
  }

  get size(): number {
    return this.#records.size;
  }

  /** No record older than this is served at the moment. */
  get maxStalenessMs(): number {
    return this.#options.breaker.isOpen ? FRESH_MS + this.#options.staleOkMs : FRESH_MS;
  }

  /** The record if it is kept and fresh, without any waiting. */
  fresh(id: string): Loaded<R> | undefined {
    const kept = this.#records.get(id);
    if (kept !== undefined) return this.#isWithin(kept, FRESH_MS) ? this.#serve(kept, "cache") : undefined;
    const absent = this.#absent.get(id);
    const isFresh = absent !== undefined && this.#options.clock.monotonicMs() - absent.readAtMs < FRESH_MS;
    return isFresh ? this.#serveAsRead(absent, "cache") : undefined;
  }

  /**
   * The record, from memory if it is fresh, else by `load`.
   *
   * @param load reads the truth; undefined means that there is no such record
   * @throws DATABASE_UNAVAILABLE if it can't be read and no copy may be served; what else `load` throws
   */
  async get(id: string, load: () => Promise<R | undefined>): Promise<Loaded<R>> {
    const fresh = this.fresh(id);
    if (fresh !== undefined) return fresh;
    const { breaker } = this.#options;
    const stale = this.#stale(id);
    if (breaker.isOpen) {
      const mayRead = breaker.mayRead();
      // Whoever can be served does not wait for the read that tries.
      if (mayRead && stale !== undefined) this.#fly(id, load).catch(() => {});
      if (stale !== undefined) return stale;
      if (!mayRead) throw unavailable();
    }
    const startedAtMs = this.#options.clock.monotonicMs();
    try {
      const entry = await (this.#flights.get(id) ?? this.#fly(id, load));
      // What was read from a history that is gone, or waited for this process to run again, is nobody's answer.
      if (this.#clearedAt > entry.changeCount || !this.#isWithin(entry, FRESH_MS)) return await this.get(id, load);
      return this.#isKept(id, entry) ? this.#serve(entry, "database") : this.#serveAsRead(entry, "database");
    } catch (error) {
      if (!isUnavailable(error)) throw error;
      if (this.#hasStoodStillSince(startedAtMs)) return this.get(id, load);
      const kept = this.#stale(id);
      if (kept === undefined) throw error;
      return kept;
    }
  }

  apply(change: Change): void {
    this.dropTag(change.subjectId);
  }

  /**
   * Forgets all records that depend on this, and detaches all reads that are under way: they serve who waits for them,
   * later callers start new ones.
   */
  dropTag(tag: string): void {
    this.#changeCount++;
    if (this.#readsUnderWay > 0) this.#changedAt.set(tag, this.#changeCount);
    this.#flights.clear();
    for (const id of this.#idsByTag.idsOf(tag)) this.#remove(id);
    this.#absent.clear();
  }

  /** Forgets one record. */
  drop(id: string): void {
    this.#flights.delete(id);
    this.#remove(id);
  }

  /** Forgets everything; no read that is under way is kept. */
  clear(): void {
    this.#clearedAt = ++this.#changeCount;
    this.#flights.clear();
    this.#records.clear();
    this.#absent.clear();
    this.#idsByTag.clear();
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

  #isKept(id: string, entry: Entry<R>): boolean {
    return (this.#records.peek(id) ?? this.#absent.peek(id)) === entry;
  }

  #hasStoodStillSince(startedAtMs: number): boolean {
    return this.#options.clock.monotonicMs() - startedAtMs > STOOD_STILL_MS;
  }

  /** The kept record if it is not too old to be served while the database is away. */
  #stale(id: string): Loaded<R> | undefined {
    const { staleOkMs } = this.#options;
    const entry = staleOkMs === 0 ? undefined : this.#records.peek(id);
    return entry !== undefined && this.#isWithin(entry, FRESH_MS + staleOkMs) ? this.#serve(entry, "cache") : undefined;
  }

  #isWithin(entry: Entry<R>, ageMs: number): boolean {
    return this.#options.clock.monotonicMs() - this.#asOf(entry) < ageMs;
  }

  #asOf(entry: Entry<R>): number {
    return Math.max(entry.readAtMs, this.#options.feed.freshAtMs);
  }

  #fly(id: string, load: () => Promise<R | undefined>): Promise<Entry<R>> {
    const { clock, breaker, feed } = this.#options;
    const readAtMs = clock.monotonicMs();
    const { position } = feed;
    const changeCount = this.#changeCount;
    this.#readsUnderWay++;
    const flight = load().then(
      (record) => {
        breaker.succeeded();
        const entry = { record, readAtMs, position, changeCount };
        this.#land(id, flight);
        if (!this.#hasChangedSince(changeCount, record)) this.#keep(id, entry);
        this.#endRead();
        return entry;
      },
      (error: unknown) => {
        if (isUnavailable(error) && !this.#hasStoodStillSince(readAtMs)) breaker.failed();
        this.#land(id, flight);
        this.#endRead();
        throw error;
      },
    );
    this.#flights.set(id, flight);
    return flight;
  }

  #land(id: string, flight: Promise<Entry<R>>): void {
    if (this.#flights.get(id) === flight) this.#flights.delete(id);
  }

  #hasChangedSince(countAtStart: number, record: R | undefined): boolean {
    if (this.#clearedAt > countAtStart) return true;
    // What does not exist has no owner to ask for.
    if (record === undefined) return this.#changeCount > countAtStart;
    return this.#options.tagsOf(record).some((tag) => (this.#changedAt.get(tag) ?? 0) > countAtStart);
  }

  #endRead(): void {
    if (--this.#readsUnderWay === 0) this.#changedAt.clear();
  }

  #keep(id: string, entry: Entry<R>): void {
    const before = this.#records.peek(id);
    if (before !== undefined && before.readAtMs > entry.readAtMs) return;
    this.#remove(id);
    if (entry.record === undefined) {
      this.#absent.set(id, entry);
      return;
    }
    for (const tag of this.#options.tagsOf(entry.record)) this.#idsByTag.add(tag, id);
    this.#records.set(id, entry);
  }

  #remove(id: string): void {
    const entry = this.#records.peek(id);
    if (entry !== undefined) this.#untag(id, entry);
    this.#records.delete(id);
    this.#absent.delete(id);
  }

  #untag(id: string, entry: Entry<R>): void {
    if (entry.record === undefined) return;
    for (const tag of this.#options.tagsOf(entry.record)) this.#idsByTag.delete(tag, id);
  }
}

function isUnavailable(error: unknown): boolean {
  return error instanceof DomainError && error.reason === "DATABASE_UNAVAILABLE";
}

function unavailable(): DomainError {
  return new DomainError("DATABASE_UNAVAILABLE", "the database is out of reach; try again", { retryAfterMs: 1000 });
}
