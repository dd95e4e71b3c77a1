import type { DatabaseClock } from "../changes/database-clock.ts";
import { MINUTE_MS } from "../lib/clock.ts";
import type { Log } from "../lib/log.ts";
import { BackgroundWriter } from "./background-writer.ts";
import type { KeyStore } from "./key-store.ts";

export interface UsageRecorderDeps {
  readonly store: Pick<KeyStore, "recordUses">;
  readonly databaseClock: Pick<DatabaseClock, "nowMs">;
  readonly log: Log;
  /**
   * Maximum keys remembered. Uses of further keys are not noted until other keys are idle, so that memory stays
   * bounded.
   */
  readonly maxKeys: number;
}

/** Minimum time between two writes of one key, so that the database's work does not grow with the number of calls. */
const WRITTEN_EVERY_MS = MINUTE_MS;
/**
 * Maximum keys that one statement writes. A statement has 1 s, and 5,000 keys come near that if the database has only a
 * small part of a core.
 */
const CHUNK = 2000;

/** The row that is written for one key. */
interface UsedKey {
  readonly keyId: string;
  readonly usedAtMs: number;
}

/** When a key was last used, and which of its uses was last written; by the database's clock. */
interface Use {
  usedAtMs: number;
  writtenAtMs: number;
}

/**
 * Remembers when keys were last used, and writes these times in the background. It writes the first use of an idle key
 * within 5 s, and later uses at most once a minute. When the process stops, it writes the rest.
 */
export class UsageRecorder {
  readonly #deps: UsageRecorderDeps;
  readonly #uses = new Map<string, Use>();
  /** Starts, flushes and stops the writes. */
  readonly writer: BackgroundWriter<UsedKey>;

  constructor(deps: UsageRecorderDeps) {
    this.#deps = deps;
    this.writer = new BackgroundWriter({
      take: (isLast) => this.#takeDue(isLast ? 0 : WRITTEN_EVERY_MS),
      chunk: CHUNK,
      write: (uses) => this.#write(uses),
      onFailed: ({ length }) => deps.log.warn("last use of keys could not be written; trying again", { keys: length }),
    });
  }

  /** Notes a use. Costs one map lookup; never waits or fails. */
  used(keyId: string, atMs: number): void {
    const use = this.#uses.get(keyId);
    if (use !== undefined) use.usedAtMs = atMs;
    else if (this.#uses.size < this.#deps.maxKeys)
      this.#uses.set(keyId, { usedAtMs: atMs, writtenAtMs: Number.NEGATIVE_INFINITY });
  }

  /** Takes the unwritten uses of keys whose last write is long enough ago, and forgets idle keys. */
  #takeDue(everyMs: number): UsedKey[] {
    const latestMs = this.#deps.databaseClock.nowMs() - everyMs;
    const due: UsedKey[] = [];
    for (const [keyId, use] of this.#uses) {
      if (use.writtenAtMs > latestMs) continue;
      if (use.usedAtMs > use.writtenAtMs) due.push({ keyId, usedAtMs: use.usedAtMs });
      else this.#uses.delete(keyId);
    }
    return due;
  }

  async #write(uses: readonly UsedKey[]): Promise<void> {
    await this.#deps.store.recordUses(uses);
    for (const { keyId, usedAtMs } of uses) {
      const use = this.#uses.get(keyId);
      if (use !== undefined) use.writtenAtMs = usedAtMs;
    }
  }
}
