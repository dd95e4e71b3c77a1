import { LRUCache } from "lru-cache";
import { KeyDigests } from "./key-digest.ts";

const MAX_KEYS = 10_000;

/**
 * Remembers which keys the service has found before, so that invented keys don't make others wait: the service answers
 * for a known key from its memory, and must ask its database about an unknown one. It decides nothing. A key is
 * remembered by its digest, never as itself.
 */
export class KnownKeys {
  readonly #digests = new KeyDigests();
  readonly #known = new LRUCache<string, true>({ max: MAX_KEYS });

  has(apiKey: string): boolean {
    return this.#known.get(this.#digests.of(apiKey)) === true;
  }

  add(apiKey: string): void {
    this.#known.set(this.#digests.of(apiKey), true);
  }
}
