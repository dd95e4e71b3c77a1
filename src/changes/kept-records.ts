import { Lru } from "../lib/lru.ts";
import { Tags } from "./tags.ts";

/** What one read brought: a record, or that there is none. */
export interface Entry<R> {
  readonly record: R | undefined;
  /** When the read began, and what the feed proved then: both hold whatever came later. */
  readonly readAtMs: number;
  readonly position: bigint;
  readonly changeCount: number;
  /** Of an absence: by whose change alone it may end. */
  readonly subjectId?: string;
}

export interface KeptRecordsOptions<R> {
  /** Most records kept; the one used longest ago goes first. */
  readonly maxEntries: number;
  /** Most bytes that they take, by what `of` says of each when it was read; undefined where all are small. */
  readonly bytes?: { readonly most: number; readonly of: (record: R) => number } | undefined;
  /** Most absences kept, apart from records so that junk can't push out good entries. */
  readonly maxAbsent: number;
  /** What a record depends on, such as its key's and its owner's id. */
  readonly tagsOf: (record: R) => readonly string[];
}

/** Records and absences in bounded memory, found by what they are asked for and by what they depend on. */
export class KeptRecords<R> {
  readonly #options: KeptRecordsOptions<R>;
  readonly #records: Lru<string, Entry<R>>;
  readonly #absent: Lru<string, Entry<R>>;
  /** Of records and absences alike. */
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

  /** How many records there are. */
  get size(): number {
    return this.#records.size;
  }

  /** Counts as a use. */
  record(id: string): Entry<R> | undefined {
    return this.#records.get(id);
  }

  /** Counts as a use. */
  absence(id: string): Entry<R> | undefined {
    return this.#absent.get(id);
  }

  peekRecord(id: string): Entry<R> | undefined {
    return this.#records.peek(id);
  }

  /** Whether this very entry is kept. */
  has(id: string, entry: Entry<R>): boolean {
    return this.#peek(id) === entry;
  }

  /** In the place of what is kept there, unless that was read later. */
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

  /** Removes all that depends on this. */
  removeAllOf(subjectId: string): void {
    for (const id of this.#idsByTag.idsOf(subjectId)) this.remove(id);
  }

  clear(): void {
    this.#records.clear();
    this.#absent.clear();
    this.#idsByTag.clear();
  }

  /** What an entry depends on. What does not exist has no owner to ask for. */
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
