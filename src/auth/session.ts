import { newId } from "../lib/id.ts";
import type { KeyRing } from "../lib/key-ring.ts";
import { randomBytes } from "../lib/random.ts";
import type { UserState } from "./user.ts";

/** One login of one person. */
export interface Session {
  /** `ses_` and 16 characters. */
  readonly id: string;
  readonly userId: string;
  readonly createdAtMs: number;
  /** When the newest refresh token was made. */
  readonly refreshedAtMs: number;
  /** When it ends if it is not refreshed; never later than its absolute end. */
  readonly expiresAtMs: number;
  /** The `user-agent` that the client sent at login. Not verified. */
  readonly userAgent: string;
  readonly clientIp: string;
}

/** The secret from which the refresh tokens of a session are computed. It is made at login and never changes. */
export interface RefreshSecret {
  /** 256 random bits. */
  readonly seed: Uint8Array;
  readonly ringVersion: number;
}

/** A session whose refresh token a caller presents to show that they are the owner of an account. */
export interface ShownSession extends RefreshSecret {
  readonly userId: string;
  /** The account's password version when the session began. */
  readonly passwordVersion: number;
}

/** A session that gets tokens now. Never leaves the room. */
export interface GrantedSession extends Session, RefreshSecret {
  /** Number of the newest refresh token, from 1. */
  readonly generation: number;
}

/** The facts about a session that each call with it needs. */
export interface SessionStanding {
  readonly id: string;
  readonly userId: string;
  readonly userState: UserState;
  readonly expiresAtMs: number;
  readonly endedAtMs: number | undefined;
}

export interface SessionLifetimes {
  /** Life without a refresh. */
  readonly refreshIdleMs: number;
  /** Life in total. */
  readonly refreshAbsoluteMs: number;
  /** Time for which a refresh token that was just replaced still gets the same successor. */
  readonly refreshGraceMs: number;
}

/** Why a session ended. */
export type SessionEnd =
  | "logout"
  | "revoked"
  | "password_changed"
  | "user_disabled"
  | "ended_by_operator"
  | "too_many_sessions"
  | "refresh_token_reused";

/** A session that is about to begin. */
export interface NewSession extends RefreshSecret {
  readonly id: string;
  readonly idleMs: number;
  readonly absoluteMs: number;
  readonly userAgent: string;
  readonly clientIp: string;
}

/** Maximum live sessions of one user. If another one begins, the oldest one ends. */
export const MAX_SESSIONS_PER_USER = 50;

/** The origin of a login. */
export interface LoginOrigin {
  readonly clientIp: string;
  readonly userAgent: string;
}

export function newSession(ring: KeyRing, lifetimes: SessionLifetimes, origin: LoginOrigin): NewSession {
  return Object.freeze({
    id: newId("ses"),
    seed: randomBytes(32),
    ringVersion: ring.current,
    idleMs: lifetimes.refreshIdleMs,
    absoluteMs: lifetimes.refreshAbsoluteMs,
    userAgent: origin.userAgent,
    clientIp: origin.clientIp,
  });
}

/** Whether calls with this session are accepted now. */
export function isLive(standing: SessionStanding, nowMs: number): boolean {
  return standing.userState === "active" && standing.endedAtMs === undefined && nowMs < standing.expiresAtMs;
}
