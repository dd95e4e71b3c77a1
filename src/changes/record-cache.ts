import { DomainError, databaseUnavailable } from "../lib/errors.ts";
import { ownText } from "../lib/text.ts";
import type { Change, ChangeKind, Copy } from "./change.ts";
import { type AgeSources, FRESH_MS, isFresh } from "./freshness.ts";
import { type Entry, KeptRecords, type KeptRecordsOptions } from "./kept-records.ts";
import { RecentChanges } from "./recent-changes.ts";

export interface RecordCacheOptions<R> extends KeptRecordsOptions<R>, AgeSources {
  /** How much older than FRESH_MS a served record may be while the database is unreachable; 0 = not at all. */
  readonly staleOkMs: number;
  /**
   * The kinds of changes whose subject is the thing that a record describes. A change of an owner also concerns the
   * records of that owner, but no absence. The cache ignores all other kinds.
   */
  readonly kinds: readonly ChangeKind[];
}

/** A record or its absence, and how old that knowledge is. */
export interface Loaded<R> {
  readonly record: R | undefined;
  /** The time, by `elapsedMs`, as of which this is true. */
  readonly asOfMs: number;
  /** The record contains everything that a snapshot of this position sees. */
  readonly position: bigint;
  /** The epoch of the position, as `epochNumber`; 0 before the feed's first poll. */
  readonly epoch: bigint;
  /** The maximum age of any record served at that moment. */
  readonly maxStalenessMs: number;
  readonly source: "cache" | "database";
}

/** How reads of a cache were answered. */
export interface CacheReads {
  /** By a record in memory. */
  hit: number;
  /** By the database, or not at all. */
  miss: number;
  /** By a record in memory that is older than FRESH_MS, because the database is unreachable. */
  stale: number;
  /** By an absence in memory. */
  absent: number;
}

/** A record that a caller requests. */
export interface Wanted {
  readonly id: string;
  /** The thing that the record describes, as changes name it; an absence ends when this thing changes. */
  readonly subjectId: string;
}

/** Reads a record from the database; undefined means that it does not exist. */
type Load<R> = () => Promise<R | undefined>;

/** Reads several records at once. Returns a promise for each, in the order of `missing`. */
export type LoadMany<R, W extends Wanted> = (missing: readonly W[]) => readonly Promise<R | undefined>[];

/**
 * The state when a read is sent. It is noted before the read, so that it never says that the result is fresher than it
 * is. The read's own snapshot is later than that of the poll whose position is noted, so it sees all that the poll saw.
 */
interface ReadStart {
  readonly readAtMs: number;
  readonly position: bigint;
  readonly changeCount: number;
}

/** A read that is under way. All callers that request the same record share it (single-flight). */
interface Flight<R> {
  readonly subjectId: string;
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
  /** The reads since the start. */
  readonly reads: CacheReads = { hit: 0, miss: 0, stale: 0, absent: 0 };

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

  /** The record if it is kept and fresh, without waiting. Only a record counts as a read: `get` follows otherwise. */
  fresh(id: string): Loaded<R> | undefined {
    const found = this.#fresh(id);
    if (found?.record !== undefined) this.reads.hit++;
    return found;
  }

  #fresh(id: string): Loaded<R> | undefined {
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
   * @param subjectId as in Wanted
   * @throws DATABASE_UNAVAILABLE if the record can't be read and no copy may be served; any other error of `load`
   */
  get(id: string, load: Load<R>, subjectId = id): Promise<Loaded<R>> {
    return this.#get({ id, subjectId }, load, false);
  }

  /**
   * As `get` for several records, with one read for all that are neither in memory nor being read. Results are in the
   * order of `wanted`. If the read of one record fails, only that record fails.
   *
   * @param readMany is called again, with one record, if the result for that record must not be used
   */
  getMany<W extends Wanted>(
    wanted: readonly W[],
    readMany: LoadMany<R, W>,
  ): Promise<PromiseSettledResult<Loaded<R>>[]> {
    const kept = wanted.map(({ id }) => this.#counted(this.#fresh(id)));
    if (!this.#options.breaker.isOpen) {
      const missing = wanted.filter(({ id }, at) => kept[at] === undefined && !this.#flights.has(id));
      const missingById = new Map(missing.map((each) => [each.id, each]));
      this.#flyTogether([...missingById.values()], readMany);
    }
    return Promise.allSettled(wanted.map((each, at) => kept[at] ?? this.#get(each, () => readMany([each])[0]!, false)));
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

  async #get(wanted: Wanted, load: Load<R>, isRetry: boolean): Promise<Loaded<R>> {
    const { id } = wanted;
    const fresh = this.#counted(this.#fresh(id));
    if (fresh !== undefined) return fresh;
    const { breaker } = this.#options;
    if (breaker.isOpen) return this.#stale(id) ?? Promise.reject(this.#missed(databaseUnavailable()));
    const flight = this.#flights.get(id) ?? this.#fly(wanted, this.#begin(), load());
    let entry: Entry<R>;
    try {
      entry = await flight.landing;
    } catch (error) {
      if (!isUnavailable(error)) throw this.#missed(error);
      // Only once, because callers must not wait for read after read if the database is unreachable and this process is
      // slow too.
      if (!isRetry && breaker.stalls.hasStalledSince(flight.readAtMs)) return this.#get(wanted, load, true);
      breaker.failed();
      const kept = this.#stale(id);
      if (kept === undefined) throw this.#missed(error);
      return kept;
    }
    // Discards a result from before a failover, or one that waited over FRESH_MS because this process stood still.
    if (this.#changes.allChanged(entry.changeCount) || !isFresh(this.#options.clock, this.#asOf(entry))) {
      return this.#get(wanted, load, isRetry);
    }
    const isKept = this.#kept.has(id, entry);
    return this.#missed(isKept ? this.#serve(entry, "database") : this.#serveAsRead(entry, "database"));
  }

  /** Counts a read that memory did not answer. @returns its outcome */
  #missed<T>(outcome: T): T {
    this.reads.miss++;
    return outcome;
  }

  /** Counts what was found in memory. */
  #counted(found: Loaded<R> | undefined): Loaded<R> | undefined {
    if (found?.record !== undefined) this.reads.hit++;
    else if (found !== undefined) this.reads.absent++;
    return found;
  }

  /** A kept record is true as of the feed's last successful poll, because the feed drops each record that changed. */
  #serve(entry: Entry<R>, source: Loaded<R>["source"]): Loaded<R> {
    const { record } = entry;
    const { position, epoch } = this.#options.feed;
    return { record, asOfMs: this.#asOf(entry), position, epoch, maxStalenessMs: this.maxStalenessMs, source };
  }

  /**
   * An absence from memory, or a result that is not kept, is only as fresh as its own read. It is of the feed's epoch,
   * because another epoch makes the cache forget everything.
   */
  #serveAsRead({ record, readAtMs, position }: Entry<R>, source: Loaded<R>["source"]): Loaded<R> {
    const { epoch } = this.#options.feed;
    return { record, asOfMs: readAtMs, position, epoch, maxStalenessMs: this.maxStalenessMs, source };
  }

  /** The kept record, if it may be served while the database is unreachable. */
  #stale(id: string): Loaded<R> | undefined {
    const { staleOkMs } = this.#options;
    const entry = staleOkMs === 0 ? undefined : this.#kept.peekRecord(id);
    if (entry === undefined) return undefined;
    const ageMs = this.#options.clock.elapsedMs() - this.#asOf(entry);
    if (ageMs >= FRESH_MS + staleOkMs) return undefined;
    this.reads.stale++;
    return this.#serve(entry, "cache");
  }

  #asOf(entry: Entry<R>): number {
    return Math.max(entry.readAtMs, this.#options.feed.freshAtMs);
  }

  /** Starts one read for several records, none of which is being read. */
  #flyTogether<W extends Wanted>(missing: readonly W[], readMany: LoadMany<R, W>): void {
    if (missing.length === 0) return;
    const starts = missing.map(() => this.#begin());
    const readings = readMany(missing);
    for (const [at, each] of missing.entries()) this.#fly(each, starts[at]!, readings[at]!);
  }

  #begin(): ReadStart {
    const { breaker, feed } = this.#options;
    return { readAtMs: breaker.stalls.begin(), position: feed.position, changeCount: this.#changes.begin() };
  }

  /** Registers a read that was sent after `start`. */
  #fly({ id, subjectId }: Wanted, start: ReadStart, reading: Promise<R | undefined>): Flight<R> {
    const { readAtMs, changeCount } = start;
    const landing = reading.then(
      (record) => {
        this.#options.breaker.succeeded();
        const read = { record, ...start };
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
