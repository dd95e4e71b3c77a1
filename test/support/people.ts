/** The room of people on a test's database, from the same parts as in the service. */

import { randomBytes } from "node:crypto";
import { RefusalRecorder } from "../../src/audit/refusal-recorder.ts";
import { PasswordHasher } from "../../src/auth/passwords/password.ts";
import { type RegisterInput, register } from "../../src/auth/register.ts";
import { SessionCache } from "../../src/auth/session-cache.ts";
import { SigningKeys } from "../../src/auth/signing/signing-keys.ts";
import { LoginThrottle } from "../../src/auth/throttle/login-throttle.ts";
import { VerifiedTokens } from "../../src/auth/tokens/access-token.ts";
import { DatabaseBreaker } from "../../src/changes/database-breaker.ts";
import { DatabaseClock } from "../../src/changes/database-clock.ts";
import { systemTimers } from "../../src/lib/clock.ts";
import { DomainError } from "../../src/lib/errors.ts";
import { newId } from "../../src/lib/id.ts";
import { KeyRing } from "../../src/lib/key-ring.ts";
import type { Log } from "../../src/lib/log.ts";
import { LocalLimiter } from "../../src/limits/local-limiter.ts";
import { PostgresAuditStore } from "../../src/postgres/stores/audit-store.ts";
import { PostgresLoginFailureStore } from "../../src/postgres/stores/login-failure-store.ts";
import { PostgresPasswordResetStore } from "../../src/postgres/stores/password-reset-store.ts";
import { PostgresSessionStore } from "../../src/postgres/stores/session-store.ts";
import { PostgresSigningKeyStore } from "../../src/postgres/stores/signing-key-store.ts";
import { PostgresUserStore } from "../../src/postgres/stores/user-store.ts";
import { PASSWORD } from "./clients.ts";
import { openDatabase, type TestDatabase } from "./database.ts";
import { recordingLog } from "./recording-log.ts";
import { canStart } from "./shared-servers.ts";

export { PASSWORD };
export const OTHER_PASSWORD = "violet harbour engine quilt";
export const SECONDS = 1000;
export const DAYS = 86_400_000;
/** An operator who acts on a person. */
export const OPERATOR = Object.freeze({ id: "svc_0123456789abcdef", clientIp: "203.0.113.9" });
/** PostgreSQL if this machine has it, or else the embedded database. */
export const PREFERRED_KIND = canStart("postgres") ? "postgres" : "embedded";
export const ORIGIN = Object.freeze({ clientIp: "192.0.2.7", userAgent: "test/1.0" });
/** Default lifetimes of the service. */
export const LIFETIMES = Object.freeze({
  refreshIdleMs: 7 * DAYS,
  refreshAbsoluteMs: 30 * DAYS,
  refreshGraceMs: 10 * SECONDS,
});

/** A feed that never proves a copy fresh: only a copy's own read does. */
const NO_FEED = { freshAtMs: Number.NEGATIVE_INFINITY, position: 0n, epoch: 7n };

/** @param told whether this process learns of changes. If not, it is like another process without a feed. */
export function newPeople(
  test: TestDatabase,
  { ring = new KeyRing([{ version: 1, bytes: randomBytes(32) }]), told = true } = {},
) {
  const { clock, database } = test;
  const log = recordingLog();
  const databaseClock = new DatabaseClock(clock);
  const users = new PostgresUserStore(database);
  const sessions = new PostgresSessionStore(database);
  const failures = new PostgresLoginFailureStore(database);
  const refusals = refusalsOn(test, log);
  const breaker = new DatabaseBreaker(clock, systemTimers, () => database.hotRead("select true", []));
  const sessionCache = new SessionCache({ store: sessions, feed: NO_FEED, breaker, clock, databaseClock });
  const accessTokenMs = 1800 * SECONDS;
  const signingKeys = new SigningKeys({
    store: new PostgresSigningKeyStore(database),
    feed: NO_FEED,
    ring,
    clock,
    databaseClock,
    log,
    algorithm: "EdDSA",
    accessTokenMs,
    signingKeyMs: 90 * DAYS,
  });
  if (told) {
    test.bus.add(sessionCache);
    test.bus.add(signingKeys);
  }
  return {
    clock,
    log,
    ring,
    databaseClock,
    breaker,
    users,
    sessions,
    sessionCache,
    signingKeys,
    refusals,
    ...{ limiter: new LocalLimiter({ clock, log }), changesPerMinute: 600 },
    passwordResets: new PostgresPasswordResetStore(database),
    loginThrottle: new LoginThrottle({ store: failures, users, refusals, ring, clock, log, hashesPerAddress: 1000 }),
    // Cheap hashes, because no test here depends on their cost.
    passwords: new PasswordHasher({ ring, log, memoryKib: 1024, passes: 2, concurrency: 2, maxWaitMs: 10_000 }),
    passwordRules: { minCodePoints: 15 },
    accountDefaults: { tier: "basic", scopes: ["*"] },
    tierNames: ["basic", "pro", "enterprise"],
    registrationOpen: true,
    lifetimes: LIFETIMES,
    keyPrefix: "kit",
    issuer: "https://latchkey.example",
    audience: "latchkey",
    verifiedTokens: new VerifiedTokens(),
    accessTokenMs,
  };
}

function refusalsOn({ database, clock }: TestDatabase, log: Log): RefusalRecorder {
  return new RefusalRecorder({ audit: new PostgresAuditStore(database), clock, timers: systemTimers, log });
}

export type People = ReturnType<typeof newPeople>;

/** A new database of the preferred kind, and the room of people over it. */
export async function openPeople(): Promise<{ readonly test: TestDatabase; readonly people: People }> {
  const test = await openDatabase(PREFERRED_KIND);
  return { test, people: newPeople(test) };
}

/** An e-mail address without an account. */
export function freshEmail(): string {
  return `${newId("usr").toLowerCase()}.${randomBytes(4).toString("hex")}@example.com`;
}

/** A person with an account and one session. */
export function registered(people: People, input: Partial<RegisterInput> = {}) {
  return register(people, { email: freshEmail(), password: PASSWORD, displayName: "Mike", ...ORIGIN, ...input });
}

/** Takes one place of the password hashes until `free`, like a hash that does not end. */
export function occupyHash(passwords: PasswordHasher): { free(): Promise<void> } {
  const { promise, resolve } = Promise.withResolvers<void>();
  const turns = passwords.turnsOf({ networks: [], isDoubtful: false, isKnown: false });
  const ended = turns.hash(() => promise).finally(() => turns[Symbol.dispose]());
  return {
    free() {
      resolve();
      return ended;
    },
  };
}

/** The refusal of a call, as its caller sees it. */
export async function refusalOf(promise: Promise<unknown>) {
  const error = await promise.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof DomainError)) throw new Error(`expected a refusal, got ${error}`);
  const { reason, message, violations, retryAfterMs, metadata } = error;
  return { reason, message, violations, retryAfterMs, metadata };
}
