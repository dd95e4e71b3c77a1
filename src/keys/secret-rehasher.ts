import type { KeyRing } from "../lib/key-ring.ts";
import type { Log } from "../lib/log.ts";
import type { KeySecretDigest, SecretRehash } from "./key.ts";
import { rehashOf } from "./key-secret.ts";
import type { KeyStore } from "./key-store.ts";

export interface SecretRehasherDeps {
  readonly store: Pick<KeyStore, "rehashSecrets">;
  readonly ring: KeyRing;
  readonly log: Log;
}

const FLUSH_EVERY_MS = 5000;
/** As many as there are records in memory. Beyond it, secrets are not noted until the next flush. */
const MAX_PENDING = 100_000;
/** Secrets moved by one statement. */
const CHUNK = 500;

/**
 * Moves secrets to the current master key while they are used: only who shows the whole key lets the service compute
 * its digest anew. What matched is noted when its record is filled and written every few seconds, never on the path of
 * a verification. A record that stays in memory needs no second look: whoever filled it noted it, and a process that
 * starts with another order of the ring fills all records anew.
 */
export class SecretRehasher {
  readonly #deps: SecretRehasherDeps;
  /** By the digest that is kept. */
  #pending = new Map<string, SecretRehash>();
  #timer: NodeJS.Timeout | undefined;
  #flushing: Promise<void> = Promise.resolve();

  constructor(deps: SecretRehasherDeps) {
    this.#deps = deps;
  }

  start(): void {
    this.#timer = setInterval(() => void this.flush(), FLUSH_EVERY_MS);
    this.#timer.unref();
  }

  /** Notes a secret that a raw key matched, if its version is behind. One HMAC at most; never waits or fails. */
  matched(rawKey: string, secret: KeySecretDigest): void {
    if (this.#pending.size >= MAX_PENDING) return;
    const rehash = rehashOf(this.#deps.ring, rawKey, secret);
    if (rehash !== undefined) this.#note(rehash);
  }

  /** Writes what was noted. What can't be written is kept for the next time; nothing is thrown. */
  flush(): Promise<void> {
    this.#flushing = this.#flushing.then(() => this.#write());
    return this.#flushing;
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.flush();
  }

  #note(rehash: SecretRehash): void {
    if (this.#pending.size < MAX_PENDING) this.#pending.set(rehash.from.digest.toString("base64"), rehash);
  }

  async #write(): Promise<void> {
    const { store, ring, log } = this.#deps;
    const noted = [...this.#pending.values()];
    this.#pending = new Map();
    let moved = 0;
    for (let from = 0; from < noted.length; from += CHUNK) {
      try {
        moved += await store.rehashSecrets(noted.slice(from, from + CHUNK));
      } catch {
        const secrets = noted.length - from;
        log.warn("secrets could not be moved to the current master key; trying again", { secrets });
        for (const rehash of noted.slice(from)) this.#note(rehash);
        break;
      }
    }
    if (moved > 0) log.info("moved secrets to the current master key", { secrets: moved, version: ring.current });
  }
}
