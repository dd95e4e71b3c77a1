import { Tags } from "../../../src/changes/tags.ts";
import type { NearRecord } from "./near-record.ts";

/**
 * The bounded memory of records, by the digest of the raw key and by the ids that they depend on.
 *
 * It evicts by second chance (the CLOCK algorithm): the hand goes round the records in the order in which they came,
 * and takes the first one that was not used since its last round. A hit sets one field. A list in the order of use
 * (LRU) would take 16 bytes more a record and move it at each hit; lru-cache also reserves the memory of all records at
 * its start.
 */
export class NearKeys {
  readonly #maxKeys: number;
  readonly #maxBytes: number;
  readonly #records = new Map<string, NearRecord>();
  readonly #digestsById = new Tags();
  #bytes = 0;
  #hand: Iterator<NearRecord> | undefined;

  constructor({ maxKeys, maxBytes }: { readonly maxKeys: number; readonly maxBytes: number }) {
    this.#maxKeys = maxKeys;
    this.#maxBytes = maxBytes;
  }

  get size(): number {
    return this.#records.size;
  }

  /** Estimated bytes of all records. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Counts as a use. */
  get(digest: string): NearRecord | undefined {
    const record = this.#records.get(digest);
    if (record !== undefined && !record.isUsed) record.isUsed = true;
    return record;
  }

  peek(digest: string): NearRecord | undefined {
    return this.#records.get(digest);
  }

  /** Keeps a record in place of the one with the same digest, unless it alone is above the bound of bytes. */
  set(record: NearRecord): void {
    this.delete(record.digest);
    if (record.bytes > this.#maxBytes) return;
    while (this.#records.size >= this.#maxKeys || this.#bytes + record.bytes > this.#maxBytes) this.#evict();
    this.#records.set(record.digest, record);
    this.#bytes += record.bytes;
    for (const id of idsOf(record)) this.#digestsById.add(id, record.digest);
  }

  delete(digest: string): void {
    const record = this.#records.get(digest);
    if (record === undefined) return;
    this.#records.delete(digest);
    this.#bytes -= record.bytes;
    for (const id of idsOf(record)) this.#digestsById.delete(id, digest);
  }

  /** Deletes the records of a key or an owner that may lack its change at a position. */
  deleteChanged(subjectId: string, position: number): void {
    for (const digest of this.#digestsById.idsOf(subjectId)) {
      const { isWatched, position: own } = this.#records.get(digest)!;
      if (!isWatched || own < position) this.delete(digest);
    }
  }

  clear(): void {
    this.#records.clear();
    this.#digestsById.clear();
    this.#bytes = 0;
    this.#hand = undefined;
  }

  /** Only called while there is a record. */
  #evict(): void {
    for (;;) {
      this.#hand ??= this.#records.values();
      const { value: record, done } = this.#hand.next();
      if (done) {
        this.#hand = undefined;
      } else if (record.isUsed) {
        record.isUsed = false;
      } else {
        this.delete(record.digest);
        return;
      }
    }
  }
}

/** The ids whose changes concern a record. */
function idsOf({ verified }: NearRecord): readonly string[] {
  return verified.ownerId === "" ? [verified.id] : [verified.id, verified.ownerId];
}
