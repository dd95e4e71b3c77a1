import { LRUCache } from "lru-cache";

export interface LruOptions<K, V> {
  /**
   * Bound of the bytes of all entries together. `of` returns the bytes of an entry when it is set; no entry may have
   * more than `most`. Default: no such bound.
   */
  readonly bytes?: { readonly most: number; readonly of: (value: V) => number } | undefined;
  /** Called for an entry that was evicted, not for one that was deleted, cleared or replaced. */
  readonly onEvict?: (key: K, value: V) => void;
}

/**
 * A map with a bound that evicts its least recently used entry. All operations are O(1), and a hit allocates nothing.
 * The memory for the order of all entries is allocated at the start: 16 bytes an entry, and 8 more if their bytes are
 * bounded.
 */
export class Lru<K extends {}, V extends {}> {
  readonly #entries: LRUCache<K, V>;

  constructor(maxEntries: number, { bytes, onEvict }: LruOptions<K, V> = {}) {
    this.#entries = new LRUCache<K, V>({
      max: maxEntries,
      ...(bytes && { maxSize: bytes.most, sizeCalculation: bytes.of }),
      ...(onEvict && { dispose: (value, key, reason) => void (reason === "evict" && onEvict(key, value)) }),
    });
  }

  get size(): number {
    return this.#entries.size;
  }

  get(key: K): V | undefined {
    return this.#entries.get(key);
  }

  /** Gets an entry without counting as a use. */
  peek(key: K): V | undefined {
    return this.#entries.peek(key);
  }

  set(key: K, value: V): void {
    this.#entries.set(key, value);
  }

  delete(key: K): boolean {
    return this.#entries.delete(key);
  }

  clear(): void {
    this.#entries.clear();
  }
}
