import { LRUCache } from "lru-cache";

/**
 * A map that forgets what was used longest ago once it holds more than `maxEntries`. All operations are O(1), and a hit
 * allocates nothing, however many there are. Room for the order of all entries is taken at once: 16 bytes each.
 */
export class Lru<K extends {}, V extends {}> {
  readonly #entries: LRUCache<K, V>;

  /** @param onEvict hears of what had to go, not of what was deleted, cleared or set anew */
  constructor(maxEntries: number, onEvict?: (key: K, value: V) => void) {
    this.#entries = new LRUCache<K, V>({
      max: maxEntries,
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
