import { Lru } from "../lib/lru.ts";
import { Tags } from "./tags.ts";

/** The result of one read: a record, or a negative cache entry ("absence"), which says that there is no such record. */
export interface Entry<R> {
  readonly record: R | undefined;
  /** When the read began, and what the feed proved at that moment; later changes don't affect either. */
  readonly readAtMs: number;
  readonly position: bigint;
  readonly changeCount: number;
  /** For an absence: the id whose change evicts it. */
  readonly subjectId?: string;
}

export interface KeptRecordsOptions<R> {
  /** Maximum records kept; the least recently used one is evicted first. */
  readonly maxEntries: number;
  /**
   * Maximum bytes of all records; `of` returns the size of a record when it was read. undefined if all records are
   * small.
   */
  readonly bytes?: { readonly most: number; readonly of: (record: R) => number } | undefined;
  /** Maximum absences kept. They have a memory of their own, so that unknown keys can't evict records. */
  readonly maxAbsent: number;
  /** The ids that a record depends on, such as the key's and its owner's. */
  readonly tagsOf: (record: R) => readonly string[];
}

/**
 * The bounded memory of records and absences, which are found by the requested id and by the ids that they depend on.
 */
export class KeptRecords<R> {
  readonly #options: KeptRecordsOptions<R>;
  readonly #records: Lru<string, Entry<R>>;
  readonly #absent: Lru<string, Entry<R>>;
  /** The ids of records and of absences. */
  readonly #idsByTag = new Tags();

  constructor(options: KeptRecordsOptions<R>) {
    this.#options = options;
    const { maxEntries, bytes, maxAbsent } = options;
    const onEvict = (id: string, entry: Entry<R>) => this.#untag(id, entry);
    this.#records = new Lru(maxEntries, {
      bytes: bytes && { most: bytes.most, of: ({ record }) => bytes.of(record!) },
      onEvict,
    });
    this.#absent = new Lru(maxAbsent, { onEvict });
  }

  /** Number of records. */
  get size(): number {
    return this.#records.size;
  }

  /** The kept record. Counts as a use. */
  record(id: string): Entry<R> | undefined {
    return this.#records.get(id);
  }

  /** The kept absence. Counts as a use. */
  absence(id: string): Entry<R> | undefined {
    return this.#absent.get(id);
  }

  peekRecord(id: string): Entry<R> | undefined {
    return this.#records.peek(id);
  }

  /** Whether exactly this entry is kept. */
  has(id: string, entry: Entry<R>): boolean {
    return this.#peek(id) === entry;
  }

  /** Keeps an entry in place of the earlier one, unless that was read later. */
  keep(id: string, entry: Entry<R>): void {
    const before = this.#records.peek(id);
    if (before !== undefined && before.readAtMs > entry.readAtMs) return;
    this.remove(id);
    for (const tag of this.tagsOf(entry)) this.#idsByTag.add(tag, id);
    if (entry.record === undefined) this.#absent.set(id, entry);
    else this.#records.set(id, entry);
  }

  remove(id: string): void {
    const entry = this.#peek(id);
    if (entry === undefined) return;
    this.#untag(id, entry);
    this.#records.delete(id);
    this.#absent.delete(id);
  }

  /** Removes everything that depends on a subject. */
  removeAllOf(subjectId: string): void {
    for (const id of this.#idsByTag.idsOf(subjectId)) this.remove(id);
  }

  clear(): void {
    this.#records.clear();
    this.#absent.clear();
    this.#idsByTag.clear();
  }

  /** The ids that an entry depends on. An absence depends on its subject only, because no owner is known. */
  tagsOf({ record, subjectId }: Entry<R>): readonly string[] {
    return record === undefined ? [subjectId!] : this.#options.tagsOf(record);
  }

  #peek(id: string): Entry<R> | undefined {
    return this.#records.peek(id) ?? this.#absent.peek(id);
  }

  #untag(id: string, entry: Entry<R>): void {
    for (const tag of this.tagsOf(entry)) this.#idsByTag.delete(tag, id);
  }
}
