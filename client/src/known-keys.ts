import { hash, randomBytes } from "node:crypto";
import { LRUCache } from "lru-cache";

const MAX_KEYS = 10_000;

/**
 * Remembers which keys the service has found before, so that invented keys don't make others wait: the service answers
 * for a known key from its memory, and must ask its database about an unknown one. It decides nothing. A key is
 * remembered as a digest with a secret of this process, never as itself.
 */
export class KnownKeys {
  readonly #secret = randomBytes(32).toString("base64");
  readonly #digests = new LRUCache<string, true>({ max: MAX_KEYS });

  has(apiKey: string): boolean {
    return this.#digests.get(this.#digestOf(apiKey)) === true;
  }

  add(apiKey: string): void {
    this.#digests.set(this.#digestOf(apiKey), true);
  }

  #digestOf(apiKey: string): string {
    return hash("sha256", `${this.#secret}${apiKey}`, "base64");
  }
}
