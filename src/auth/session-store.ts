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

/** What became of a genuine refresh token. */
export type RefreshOutcome =
  /** It was the newest one, or the one before it within the grace; the session holds the successor's generation. */
  | { readonly kind: "granted"; readonly session: GrantedSession }
  /** It was replaced longer ago: someone else has used it. The session has ended by this step. */
  | { readonly kind: "reused"; readonly userId: string }
  /** It is of a later generation than the session, not ended, has reached: the database was restored. Nothing changed. */
  | { readonly kind: "ahead"; readonly userId: string }
  /** The session is not live, or its user is not active. Nothing changed. No user id: there is no such session. */
  | { readonly kind: "not_live"; readonly userId: string | undefined };

/**
 * Where sessions are kept. All times are the database's. Whatever ends a session also announces a SESSION change in the
 * same transaction.
 */
export interface SessionStore {
  /**
   * Begins a session if, at the moment of the insertion, the user is active and has this password version: one step,
   * which a concurrent change of password or state either sees and ends, or makes refuse. Beyond 50 live sessions the
   * user's oldest end. The first login from a network that the user was known from (key-revocation.ts) is noted.
   *
   * @returns undefined when the user is not as required
   */
  begin(input: {
    readonly userId: string;
    readonly passwordVersion: number;
    readonly session: NewSession;
  }): Promise<GrantedSession | undefined>;

  /**
   * How a session stands, and when that was read; undefined: no such session. A hot read: it fails fast, and goes together
   * with what else is asked for at the same time.
   * @throws DATABASE_UNAVAILABLE, also where only a standby can be asked
   */
  standing(id: string): Promise<{ readonly standing: SessionStanding | undefined; readonly databaseMs: number }>;

  /** What its refresh tokens are computed from; also of ended sessions. Undefined: no such session. */
  refreshSecret(id: string): Promise<RefreshSecret | undefined>;

  /**
   * What tells whether a refresh token shows the owner of an account. Undefined: no such session, or one that was ended
   * otherwise than by time or by newer sessions of its user.
   */
  shown(id: string): Promise<ShownSession | undefined>;

  /**
   * Exchanges a genuine refresh token, in one statement that concurrent callers pass one after the other: of any number
   * with the newest generation one advances the session, and the others find that it was replaced just now.
   *
   * The idle time begins anew at the advance, bounded by the session's absolute end. A replay within the grace changes
   * nothing: neither generation nor times.
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
   * Ends a session; one that has ended already stays as it is.
   * @param input.userId if given, only a session of this user
   * @param input.by with an empty actor it was the session's own person, who has shown one of its tokens
   * @returns "unknown" if there is no such session, "anothers" if it is not the given user's
   */
  end(input: {
    readonly id: string;
    readonly userId?: string;
    readonly why: SessionEnd;
    readonly by: Actor;
  }): Promise<"ended" | "unknown" | "anothers">;

  /**
   * Ends all sessions of a user that have begun, except those that lapsed so long ago that no token of them is good, and
   * uses up the user's reset tokens. A login that runs at the same time is either among them or begins after. Idempotent.
   * @returns false if there is no such user
   */
  endAllOf(input: { readonly userId: string; readonly why: SessionEnd; readonly by: Actor }): Promise<boolean>;

  /**
   * Deletes some of the sessions whose absolute end passed a week ago. A token of theirs is refused as one of a session
   * that never was: the same answer as before.
   * @returns whether more are left
   */
  prune(): Promise<boolean>;

  /** Live sessions of a user, newest first by (creation, id), at most `limit` of those after `after`. */
  listLive(input: {
    readonly userId: string;
    readonly after: PagePosition | undefined;
    readonly limit: number;
  }): Promise<readonly Session[]>;
}
