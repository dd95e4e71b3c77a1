import type { Actor } from "../audit/actor.ts";
import type { PagePosition } from "../lib/page.ts";
import type {
  GrantedSession,
  NewSession,
  RefreshSecret,
  Session,
  SessionEnd,
  SessionStanding,
  ShownSession,
} from "./session.ts";

/** The outcome of presenting a genuine refresh token. */
export type RefreshOutcome =
  /** It was the newest token, or the one before it within the grace. The session has the successor's generation. */
  | { readonly kind: "granted"; readonly session: GrantedSession }
  /** It was replaced before the grace began, so another party has used it. This step ended the session. */
  | { readonly kind: "reused"; readonly userId: string }
  /** Its generation is later than that of the live session, because a backup was restored. Nothing changed. */
  | { readonly kind: "ahead"; readonly userId: string }
  /**
   * The session is not live, or its user is not active. Nothing changed. `userId` is undefined for an unknown session.
   */
  | { readonly kind: "not_live"; readonly userId: string | undefined };

/**
 * Stores sessions. All times are the database's. A method that ends a session also announces a SESSION change in the
 * same transaction.
 */
export interface SessionStore {
  /**
   * Begins a session if the user is active and has this password version at the moment of the insertion. This is one
   * step: a concurrent change of password or state either sees the session and ends it, or makes the step refuse.
   *
   * Beyond MAX_SESSIONS_PER_USER live sessions the user's oldest ones end. The first login from a known network
   * (key-revocation.ts) is noted.
   *
   * @returns undefined if the user is not active or has another password version
   */
  begin(input: {
    readonly userId: string;
    readonly passwordVersion: number;
    readonly session: NewSession;
  }): Promise<GrantedSession | undefined>;

  /**
   * The standing of a session, and the time at which it was read; undefined for an unknown session. A hot read: it
   * fails fast, and one statement serves the reads that come at the same time.
   *
   * @throws DATABASE_UNAVAILABLE, also if only a standby is reachable
   */
  standing(id: string): Promise<{ readonly standing: SessionStanding | undefined; readonly databaseMs: number }>;

  /** The secret of a session, even of one that ended. Undefined for an unknown session. */
  refreshSecret(id: string): Promise<RefreshSecret | undefined>;

  /**
   * The facts that tell whether a refresh token shows the owner of an account. Undefined for an unknown session and for
   * one that was ended, unless newer sessions of its user ended it. A session that lapsed was not ended.
   */
  shown(id: string): Promise<ShownSession | undefined>;

  /**
   * Exchanges a genuine refresh token by one statement, which concurrent callers run one after another. If several come
   * with the newest generation, one of them advances the session. The others find that their token was just replaced.
   *
   * The idle time starts again at the advance, and ends at the latest at the session's absolute end. A replay within
   * the grace changes neither generation nor times.
   */
  advance(input: {
    readonly id: string;
    readonly generation: number;
    readonly idleMs: number;
    readonly graceMs: number;
    /** For the record, if the token was used before. */
    readonly clientIp: string;
  }): Promise<RefreshOutcome>;

  /**
   * Ends a session. A session that has ended already stays as it is.
   *
   * @param input.userId if given, only a session of this user ends
   * @param input.by an empty id means the session's own user, who presented one of its tokens
   * @returns "unknown" if there is no such session, "anothers" if it belongs to another user than the given one
   */
  end(input: {
    readonly id: string;
    readonly userId?: string;
    readonly why: SessionEnd;
    readonly by: Actor;
  }): Promise<"ended" | "unknown" | "anothers">;

  /**
   * Ends all sessions of a user and uses up the user's reset tokens. Sessions that lapsed during the last day are among
   * them, because their access tokens may still be accepted; older ones are left alone. A login at the same time either
   * comes first, and its session ends, or comes afterwards. Idempotent.
   *
   * @returns false if there is no such user
   */
  endAllOf(input: { readonly userId: string; readonly why: SessionEnd; readonly by: Actor }): Promise<boolean>;

  /**
   * Deletes some of the sessions whose absolute end passed a week ago. Their tokens get the same answer as before,
   * because tokens of unknown sessions get it too.
   *
   * @returns whether more are left
   */
  prune(): Promise<boolean>;

  /** Lists at most `limit` live sessions of a user after `after`, newest first by (time of creation, id). */
  listLive(input: {
    readonly userId: string;
    readonly after: PagePosition | undefined;
    readonly limit: number;
  }): Promise<readonly Session[]>;
}
