import type { Log } from "../lib/log.ts";
import type { KeyStore } from "./key-store.ts";

export interface UsageRecorderDeps {
  readonly store: Pick<KeyStore, "recordUses">;
  readonly log: Log;
}

const FLUSH_EVERY_MS = 5000;
/** Beyond this, uses of further keys are not noted until the next flush: memory stays bounded while the database is away. */
const MAX_PENDING = 100_000;
/** Keys written by one statement. */
const CHUNK = 5000;

/** Gathers when keys were last used and writes it every few seconds, never on the path of a verification. */
export class UsageRecorder {
  readonly #deps: UsageRecorderDeps;
  #pending = new Map<string, number>();
  #timer: NodeJS.Timeout | undefined;
  #flushing: Promise<void> = Promise.resolve();

  constructor(deps: UsageRecorderDeps) {
    this.#deps = deps;
  }

  start(): void {
    this.#timer = setInterval(() => void this.flush(), FLUSH_EVERY_MS);
    this.#timer.unref();
  }

  /** Notes a use. Costs one map entry, and never waits or fails. */
  used(keyId: string, atMs: number): void {
    if (this.#pending.size < MAX_PENDING || this.#pending.has(keyId)) this.#pending.set(keyId, atMs);
  }

  /** Writes what was gathered. What can't be written is kept for the next time; nothing is thrown. */
  flush(): Promise<void> {
    this.#flushing = this.#flushing.then(() => this.#write());
    return this.#flushing;
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.flush();
  }

  async #write(): Promise<void> {
    const uses = [...this.#pending].map(([keyId, usedAtMs]) => ({ keyId, usedAtMs }));
    this.#pending = new Map();
    for (let from = 0; from < uses.length; from += CHUNK) {
      try {
        await this.#deps.store.recordUses(uses.slice(from, from + CHUNK));
      } catch {
        this.#deps.log.warn("last use of keys could not be written; trying again", { keys: uses.length - from });
        for (const { keyId, usedAtMs } of uses.slice(from)) if (!this.#pending.has(keyId)) this.used(keyId, usedAtMs);
        return;
      }
    }
  }
}
