import type { Clock } from "../lib/clock.ts";
import { Lru } from "../lib/lru.ts";

/**
 * WHAT CHANGED. Keeps every copy of the truth fresh.
 *
 *   change.ts          what a change is, and where copies learn of it
 *   record-cache.ts    copies of records, by what they are asked for
 *   database-clock.ts  the time that verdicts are judged by
 *
 * Only records are kept, never verdicts: state and expiry are judged at each use. Until the change feed runs, a record
 * lives `lifeMs` from the moment its read began; the feed will prolong that without a read.
 */

export interface RecordCacheOptions<R> {
  readonly clock: Clock;
  /** Most records kept; the one used longest ago goes first. */
  readonly maxEntries: number;
  /** Most absences kept, apart from records so that junk can't push out good entries. */
  readonly maxAbsent: number;
  /** How long a record or absence may be served, from the start of its own read. */
  readonly lifeMs: number;
  /** What a record depends on, such as its key's and its owner's id: see `dropTag`. */
  readonly tagsOf?: (record: R) => readonly string[];
}

/** A record, or its absence, and how old that knowledge is. */
export interface Loaded<R> {
  readonly record: R | undefined;
  /** Monotonic time at which the read that produced it began. */
  readonly readAtMs: number;
  readonly source: "cache" | "database";
}

interface Entry<R> {
  readonly record: R | undefined;
  readonly readAtMs: number;
}

/** A bounded cache in front of one kind of record. Misses load once, however many ask at the same time. */
export class RecordCache<R> {
  readonly #clock: Clock;
  readonly #lifeMs: number;
  readonly #records: Lru<string, Entry<R>>;
  readonly #absent: Lru<string, Entry<R>>;
  readonly #flights = new Map<string, Promise<Entry<R>>>();
  readonly #tagsOf: (record: R) => readonly string[];
  readonly #idsByTag = new Map<string, Set<string>>();

  constructor(options: RecordCacheOptions<R>) {
    this.#clock = options.clock;
    this.#lifeMs = options.lifeMs;
    this.#tagsOf = options.tagsOf ?? (() => []);
    this.#records = new Lru(options.maxEntries, (id, entry) => this.#untag(id, entry));
    this.#absent = new Lru(options.maxAbsent);
  }

  get size(): number {
    return this.#records.size;
  }

  /** The record if it is kept and fresh, without any waiting. */
  fresh(id: string): Loaded<R> | undefined {
    const entry = this.#records.get(id) ?? this.#absent.get(id);
    if (entry === undefined || this.#clock.monotonicMs() - entry.readAtMs >= this.#lifeMs) return undefined;
    return { record: entry.record, readAtMs: entry.readAtMs, source: "cache" };
  }

  /**
   * The record, from memory if it is fresh, else by `load`.
   * @param load reads the truth; undefined means that there is no such record. What it throws reaches every caller that
   *             waits for this flight, and nothing is kept.
   */
  async get(id: string, load: () => Promise<R | undefined>): Promise<Loaded<R>> {
    const kept = this.fresh(id);
    if (kept !== undefined) return kept;
    const entry = await (this.#flights.get(id) ?? this.#fly(id, load));
    return { record: entry.record, readAtMs: entry.readAtMs, source: "database" };
  }

  /** Forgets one record. A read that is under way is detached: it serves who waits for it and is not kept. */
  drop(id: string): void {
    this.#flights.delete(id);
    this.#remove(id);
  }

  /**
   * Forgets all records that depend on this. What a read that is under way depends on is not known yet, so all of them
   * are detached.
   */
  dropTag(tag: string): void {
    this.#flights.clear();
    for (const id of [...(this.#idsByTag.get(tag) ?? [])]) this.#remove(id);
    this.#absent.clear();
  }

  /** Forgets everything, and detaches all reads that are under way. */
  clear(): void {
    this.#flights.clear();
    this.#records.clear();
    this.#absent.clear();
    this.#idsByTag.clear();
  }

  #fly(id: string, load: () => Promise<R | undefined>): Promise<Entry<R>> {
    const readAtMs = this.#clock.monotonicMs();
    const flight = load().then(
      (record) => {
        const entry = { record, readAtMs };
        if (this.#flights.get(id) === flight) this.#keep(id, entry);
        return entry;
      },
      (error: unknown) => {
        if (this.#flights.get(id) === flight) this.#flights.delete(id);
        throw error;
      },
    );
    this.#flights.set(id, flight);
    return flight;
  }

  #keep(id: string, entry: Entry<R>): void {
    this.drop(id);
    if (entry.record === undefined) {
      this.#absent.set(id, entry);
      return;
    }
    for (const tag of this.#tagsOf(entry.record)) {
      const ids = this.#idsByTag.get(tag) ?? new Set();
      this.#idsByTag.set(tag, ids.add(id));
    }
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
    for (const tag of this.#tagsOf(entry.record)) {
      const ids = this.#idsByTag.get(tag);
      ids?.delete(id);
      if (ids?.size === 0) this.#idsByTag.delete(tag);
    }
  }
}
