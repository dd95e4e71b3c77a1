import { Tags } from "../../../src/changes/tags.ts";

/** An answer INVALID about one raw key. */
export interface AbsentKey {
  /** The id that the raw key names: its change makes the answer out of date. */
  readonly keyId: string;
  readonly trueAtMs: number;
  readonly position: number;
  readonly isWatched: boolean;
  /** Maximum age of the answer. No message of the stream makes it younger. */
  readonly boundMs: number;
}

/** Half of the 10,000 that are kept at most. */
const MAX_GENERATION = 5_000;

/**
 * The negative cache: raw keys that the service called INVALID, by digest. It is apart from the records, so that
 * invented keys evict none. It has two generations. When the younger one is full, the older one is forgotten as a
 * whole: so nothing is ever searched for the oldest.
 */
export class AbsentKeys {
  #young = new Map<string, AbsentKey>();
  #old = new Map<string, AbsentKey>();
  #youngById = new Tags();
  #oldById = new Tags();

  get size(): number {
    return this.#young.size + this.#old.size;
  }

  get(digest: string): AbsentKey | undefined {
    return this.#young.get(digest) ?? this.#old.get(digest);
  }

  set(digest: string, absent: AbsentKey): void {
    this.delete(digest);
    if (this.#young.size >= MAX_GENERATION) {
      [this.#old, this.#oldById] = [this.#young, this.#youngById];
      [this.#young, this.#youngById] = [new Map(), new Tags()];
    }
    this.#young.set(digest, absent);
    this.#youngById.add(absent.keyId, digest);
  }

  delete(digest: string): void {
    const absent = this.get(digest);
    if (absent === undefined) return;
    this.#young.delete(digest);
    this.#old.delete(digest);
    this.#youngById.delete(absent.keyId, digest);
    this.#oldById.delete(absent.keyId, digest);
  }

  /** Deletes the answers about a key that may lack its change at a position. */
  deleteChanged(keyId: string, position: number): void {
    for (const digest of [...this.#youngById.idsOf(keyId), ...this.#oldById.idsOf(keyId)]) {
      const { isWatched, position: own } = this.get(digest)!;
      if (!isWatched || own < position) this.delete(digest);
    }
  }

  clear(): void {
    this.#young.clear();
    this.#old.clear();
    this.#youngById.clear();
    this.#oldById.clear();
  }
}
