import type { Latchkey } from "./latchkey-interface.ts";
import type { LatchkeyOptions } from "./options.ts";

/** A key for a test. Everything has a default. */
export interface FakeKeyOptions {
  /** Default: an owner of its own. */
  readonly ownerId?: string;
  readonly name?: string;
  /** Default: the lowest. */
  readonly tier?: string;
  readonly scopes?: readonly string[];
  /** Default: the first environment. */
  readonly environment?: string;
  readonly metadata?: Readonly<Record<string, string>>;
  readonly allowedIps?: readonly string[];
  readonly allowedMethods?: readonly string[];
  /** In place of the tier's. */
  readonly limits?: { readonly perMinute?: number; readonly perDay?: number };
  readonly expiresAt?: Date;
}

export interface FakeKey {
  /** The raw key, which a caller presents. */
  readonly apiKey: string;
  readonly id: string;
  readonly ownerId: string;
}

export interface FakeToken {
  readonly accessToken: string;
  readonly userId: string;
  readonly sessionId: string;
}

export interface FakeTokenOptions {
  /** Default: a new one. */
  readonly userId?: string;
  /** Default: 15 minutes. */
  readonly lifetimeMs?: number;
}

/** The failure of each call. `unavailable`: LatchkeyUnavailable; `credential`: LatchkeyCredentialError. */
export type FakeFailure = "unavailable" | "credential";

export interface FakeOptions {
  /** Lowest first. Default: basic, pro and enterprise, as the service has them. */
  readonly tiers?: readonly { readonly name: string; readonly perMinute?: number; readonly perDay?: number }[];
  /** Default: live and test. */
  readonly environments?: readonly string[];
  /**
   * As the option of `createLatchkey`; default false. Then a change takes effect a few turns of the event loop after
   * the call that makes it, as with a real service.
   */
  readonly near?: LatchkeyOptions["near"];
}

/** The ways in which a test changes the service in memory. */
export interface FakeControls {
  /** Makes a key. Its owner's grant covers every tier and scope. */
  issueKey(options?: FakeKeyOptions): FakeKey;
  revokeKey(id: string): void;
  disableKey(id: string): void;
  enableKey(id: string): void;
  disableOwner(ownerId: string): void;
  enableOwner(ownerId: string): void;
  /** Logs a person in. */
  issueAccessToken(options?: FakeTokenOptions): FakeToken;
  endSession(sessionId: string): void;
  /** Lets every call fail, until `recover`. */
  fail(failure: FakeFailure): void;
  recover(): void;
  /** Moves the time of the service: limits, expiries and sessions go by it. */
  advance(ms: number): void;
}

/** A client with its service in memory. RPCs that it lacks answer UNIMPLEMENTED; `fake` has what a test needs of them. */
export interface FakeLatchkey extends Latchkey {
  readonly fake: FakeControls;
}
