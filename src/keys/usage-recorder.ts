import type { DatabaseClock } from "../changes/database-clock.ts";
import type { Log } from "../lib/log.ts";
import { BackgroundWriter } from "./background-writer.ts";
import type { KeyStore } from "./key-store.ts";

export interface UsageRecorderDeps {
  readonly store: Pick<KeyStore, "recordUses">;
  readonly databaseClock: Pick<DatabaseClock, "nowMs">;
  readonly log: Log;
  /** Uses of further keys are not noted until others are idle: memory stays bounded. */
  readonly maxKeys: number;
}

/** A key that is used all the time is written so often: the database's work must follow neither calls nor hot keys. */
const WRITTEN_EVERY_MS = 60_000;
/** Keys written by one statement, which has 1 s: 5,000 come near it where the database has little of a core. */
const CHUNK = 2000;

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
 * Gathers when keys were last used and writes it in the background: within 5 s for a key that was idle, then at most once
 * a minute, and when the process stops.
 */
export class UsageRecorder {
  readonly #deps: UsageRecorderDeps;
  readonly #uses = new Map<string, Use>();
  /** Starts, flushes and stops what is written. */
  readonly writer: BackgroundWriter<KeyUse>;

  constructor(deps: UsageRecorderDeps) {
    this.#deps = deps;
    this.writer = new BackgroundWriter({
      take: (isLast) => this.#takeDue(isLast ? 0 : WRITTEN_EVERY_MS),
      chunk: CHUNK,
      write: (uses) => this.#write(uses),
      onFailed: ({ length }) => deps.log.warn("last use of keys could not be written; trying again", { keys: length }),
    });
  }

  /** Notes a use. Costs one look into a map, and never waits or fails. */
  used(keyId: string, atMs: number): void {
    const use = this.#uses.get(keyId);
    if (use !== undefined) use.usedAtMs = atMs;
    else if (this.#uses.size < this.#deps.maxKeys)
      this.#uses.set(keyId, { usedAtMs: atMs, writtenAtMs: Number.NEGATIVE_INFINITY });
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

  async #write(uses: readonly KeyUse[]): Promise<void> {
    await this.#deps.store.recordUses(uses);
    for (const { keyId, usedAtMs } of uses) {
      const use = this.#uses.get(keyId);
      if (use !== undefined) use.writtenAtMs = usedAtMs;
    }
  }
}
