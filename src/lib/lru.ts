import { LRUCache } from "lru-cache";

export interface LruOptions<K, V> {
  /** Most bytes of all entries, by what `of` says of each when it is set; no entry may have more. Default: no such bound. */
  readonly bytes?: { readonly most: number; readonly of: (value: V) => number } | undefined;
  /** Hears of what had to go, not of what was deleted, cleared or set anew. */
  readonly onEvict?: (key: K, value: V) => void;
}

/**
 * A map that forgets what was used longest ago once it holds more than it may. All operations are O(1), and a hit allocates
 * nothing, however many there are. Room for the order of all entries is taken at once: 16 bytes each, and 8 more for their
 * bytes.
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

  /** Looks without counting as a use. */
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
