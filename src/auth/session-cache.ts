import type { Change, Copy } from "../changes/change.ts";
import type { DatabaseClock } from "../changes/database-clock.ts";
import type { AgeSources } from "../changes/freshness.ts";
import { type CacheReads, RecordCache } from "../changes/record-cache.ts";
import type { SessionStanding } from "./session.ts";
import type { SessionStore } from "./session-store.ts";

export interface SessionCacheOptions extends AgeSources {
  readonly store: Pick<SessionStore, "standing">;
  readonly databaseClock: DatabaseClock;
}

const MAX_SESSIONS = 100_000;
const MAX_ABSENT = 10_000;

/**
 * A cache of sessions by id, so that most calls of a logged-in person need no query. The caller judges whether a
 * session is live.
 */
export class SessionCache implements Copy {
  readonly #options: SessionCacheOptions;
  readonly #records: RecordCache<SessionStanding>;

  constructor(options: SessionCacheOptions) {
    this.#options = options;
    this.#records = new RecordCache({
      ...options,
      maxEntries: MAX_SESSIONS,
      maxAbsent: MAX_ABSENT,
      // A session that ended must not be used because the database is unreachable.
      staleOkMs: 0,
      kinds: ["SESSION"],
      tagsOf: (standing) => [standing.id, standing.userId],
    });
  }

  /** The reads since the start. */
  get reads(): Readonly<CacheReads> {
    return this.#records.reads;
  }

  /**
   * The standing of a session, at most 5 s old, whatever happens to the database.
   *
   * @returns undefined if there is no such session
   * @throws DATABASE_UNAVAILABLE if that can't be known
   */
  async standing(id: string): Promise<SessionStanding | undefined> {
    const kept = await this.#records.get(id, () => this.#load(id));
    const expiresAtMs = kept.record?.expiresAtMs ?? Number.POSITIVE_INFINITY;
    if (kept.source === "database" || this.#options.databaseClock.nowMs() < expiresAtMs) return kept.record;
    // A refresh by another process may have moved the end. A refresh announces no change.
    this.#records.drop(id);
    return (await this.#records.get(id, () => this.#load(id))).record;
  }

  apply(change: Change): void {
    this.#records.apply(change);
  }

  clear(): void {
    this.#records.clear();
  }

  async #load(id: string): Promise<SessionStanding | undefined> {
    const { store, clock, databaseClock } = this.#options;
    const sentAtMs = clock.elapsedMs();
    const { standing, databaseMs } = await store.standing(id);
    databaseClock.observe(databaseMs, sentAtMs);
    return standing;
  }
}
