import type { DatabaseClock } from "../changes/database-clock.ts";
import type { Log } from "../lib/log.ts";
import type { KeyStore } from "./key-store.ts";

export interface UsageRecorderDeps {
  readonly store: Pick<KeyStore, "recordUses">;
  readonly databaseClock: Pick<DatabaseClock, "nowMs">;
  readonly log: Log;
  /** Uses of further keys are not noted until others are idle: memory stays bounded. */
  readonly maxKeys: number;
}

const FLUSH_EVERY_MS = 5000;
/** A key that is used all the time is written so often, so that the database's work does not follow the calls. */
const WRITTEN_EVERY_MS = 60_000;
/** Keys written by one statement. */
const CHUNK = 5000;

/** What is written of one key. */
interface KeyUse {
  readonly keyId: string;
  readonly usedAtMs: number;
}

/** When a key was used last and what of that is written; by the database's clock. */
interface Use {
  usedAtMs: number;
  writtenAtMs: number;
}

/**
 * Gathers when keys were last used and writes it in the background, never on the path of a verification: within 5 s for
 * a key that was idle, then at most once a minute, and when the process stops.
 */
export class UsageRecorder {
  readonly #deps: UsageRecorderDeps;
  readonly #uses = new Map<string, Use>();
  #timer: NodeJS.Timeout | undefined;
  #flushing: Promise<void> = Promise.resolve();

  constructor(deps: UsageRecorderDeps) {
    this.#deps = deps;
  }

  start(): void {
    this.#timer = setInterval(() => void this.flush(), FLUSH_EVERY_MS);
    this.#timer.unref();
  }

  /** Notes a use. Costs one look into a map, and never waits or fails. */
  used(keyId: string, atMs: number): void {
    const use = this.#uses.get(keyId);
    if (use !== undefined) use.usedAtMs = atMs;
    else if (this.#uses.size < this.#deps.maxKeys)
      this.#uses.set(keyId, { usedAtMs: atMs, writtenAtMs: Number.NEGATIVE_INFINITY });
  }

  /** Writes what is due. What can't be written is tried again the next time; nothing is thrown. */
  flush(): Promise<void> {
    return this.#flush(WRITTEN_EVERY_MS);
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.#flush(0);
  }

  #flush(everyMs: number): Promise<void> {
    this.#flushing = this.#flushing.then(() => this.#write(this.#takeDue(everyMs)));
    return this.#flushing;
  }

  /** What was not written yet of keys that were not written lately. Keys that are idle are forgotten. */
  #takeDue(everyMs: number): KeyUse[] {
    const latestMs = this.#deps.databaseClock.nowMs() - everyMs;
    const due: KeyUse[] = [];
    for (const [keyId, use] of this.#uses) {
      if (use.writtenAtMs > latestMs) continue;
      if (use.usedAtMs > use.writtenAtMs) due.push({ keyId, usedAtMs: use.usedAtMs });
      else this.#uses.delete(keyId);
    }
    return due;
  }

  async #write(due: readonly KeyUse[]): Promise<void> {
    for (let from = 0; from < due.length; from += CHUNK) {
      const chunk = due.slice(from, from + CHUNK);
      try {
        await this.#deps.store.recordUses(chunk);
      } catch {
        this.#deps.log.warn("last use of keys could not be written; trying again", { keys: due.length - from });
        return;
      }
      for (const { keyId, usedAtMs } of chunk) {
        const use = this.#uses.get(keyId);
        if (use !== undefined) use.writtenAtMs = usedAtMs;
      }
    }
  }
}
