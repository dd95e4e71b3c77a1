import type { KeyRing } from "../lib/key-ring.ts";
import type { Log } from "../lib/log.ts";
import { BackgroundWriter } from "./background-writer.ts";
import type { KeySecretDigest, SecretRehash } from "./key.ts";
import { rehashOf } from "./key-secret.ts";
import type { KeyStore } from "./key-store.ts";

export interface SecretRehasherDeps {
  readonly store: Pick<KeyStore, "rehashSecrets">;
  readonly ring: KeyRing;
  readonly log: Log;
  /**
   * Maximum secrets noted; further ones are not noted. It is the maximum number of records in memory, because the
   * secrets of all records may be behind.
   */
  readonly maxSecrets: number;
}

/** Maximum secrets that one statement moves. */
const CHUNK = 500;

/**
 * Moves secrets to the current master key when callers use them, because only the whole raw key yields a new digest. It
 * notes a secret when the cache reads its record, and writes in the background. A record that stays in memory needs no
 * second look, because its secret was noted when it was read. The ring changes only with a restart, which empties the
 * memory.
 */
export class SecretRehasher {
  readonly #deps: SecretRehasherDeps;
  /** By the stored digest. */
  #pending = new Map<string, SecretRehash>();
  /** Number of secrets moved by the flush that is under way. */
  #moved = 0;
  /** Starts, flushes and stops the writes. */
  readonly writer: BackgroundWriter<SecretRehash>;

  constructor(deps: SecretRehasherDeps) {
    this.#deps = deps;
    this.writer = new BackgroundWriter({
      take: () => this.#takeAll(),
      chunk: CHUNK,
      write: (rehashes) => this.#write(rehashes),
      onFailed: (rehashes) => this.#keep(rehashes),
      onFlushed: () => this.#tell(),
    });
  }

  /** Notes a secret that a raw key matched, if its version is behind. Costs at most one HMAC; never waits or fails. */
  matched(rawKey: string, secret: KeySecretDigest): void {
    if (this.#pending.size >= this.#deps.maxSecrets) return;
    const rehash = rehashOf(this.#deps.ring, rawKey, secret);
    if (rehash !== undefined) this.#note(rehash);
  }

  #note(rehash: SecretRehash): void {
    if (this.#pending.size < this.#deps.maxSecrets) this.#pending.set(rehash.from.digest.toString("base64"), rehash);
  }

  #takeAll(): SecretRehash[] {
    const noted = [...this.#pending.values()];
    this.#pending = new Map();
    return noted;
  }

  async #write(rehashes: readonly SecretRehash[]): Promise<void> {
    this.#moved += await this.#deps.store.rehashSecrets(rehashes);
  }

  #keep(rehashes: readonly SecretRehash[]): void {
    const { log } = this.#deps;
    log.warn("secrets could not be moved to the current master key; trying again", { secrets: rehashes.length });
    for (const rehash of rehashes) this.#note(rehash);
  }

  #tell(): void {
    const { ring, log } = this.#deps;
    const secrets = this.#moved;
    this.#moved = 0;
    if (secrets > 0) log.info("moved secrets to the current master key", { secrets, version: ring.current });
  }
}
