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
  /** When it ends without a further refresh; never beyond its absolute end. */
  readonly expiresAtMs: number;
  /** What the client named at login. Not verified. */
  readonly userAgent: string;
  readonly clientIp: string;
}

/** What the refresh tokens of a session are computed from. Fixed at login. */
export interface RefreshSecret {
  /** 256 random bits. */
  readonly seed: Uint8Array;
  readonly ringVersion: number;
}

/** A session whose refresh token is shown to tell who tries to log in. */
export interface ShownSession extends RefreshSecret {
  readonly userId: string;
  /** Of the password with which it began. */
  readonly passwordVersion: number;
}

/** A session at the moment at which it gets tokens. Never leaves the room. */
export interface GrantedSession extends Session, RefreshSecret {
  /** Number of the newest refresh token, from 1. */
  readonly generation: number;
}

/** What is asked of a session at each call that is made with it. */
export interface SessionStanding {
  readonly id: string;
  readonly userId: string;
  readonly userState: UserState;
  readonly expiresAtMs: number;
  readonly endedAtMs: number | undefined;
}

export interface SessionLifetimes {
  /** Without a refresh. */
  readonly refreshIdleMs: number;
  /** In all. */
  readonly refreshAbsoluteMs: number;
  /** How long the token just replaced still gets the same successor. */
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

/** Beyond this many live sessions of one user the oldest ends. */
export const MAX_SESSIONS_PER_USER = 50;

/** Where a login comes from. */
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

/** Whether calls may be made with it now. */
export function isLive(standing: SessionStanding, nowMs: number): boolean {
  return standing.userState === "active" && standing.endedAtMs === undefined && nowMs < standing.expiresAtMs;
}
