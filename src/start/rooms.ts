/**
 * The composition root of the business rooms: each room with the stores and the settings that it uses. Nothing here
 * listens, and nothing starts.
 */

import { availableParallelism } from "node:os";
import { RefusalRecorder } from "../audit/refusal-recorder.ts";
import { hashConcurrency, PasswordHasher } from "../auth/passwords/password.ts";
import { SessionCache } from "../auth/session-cache.ts";
import { SigningKeys } from "../auth/signing/signing-keys.ts";
import { LoginThrottle } from "../auth/throttle/login-throttle.ts";
import { VerifiedTokens } from "../auth/tokens/access-token.ts";
import type { ChangeBus } from "../changes/change.ts";
import type { ChangeFeed } from "../changes/change-feed.ts";
import type { DatabaseBreaker } from "../changes/database-breaker.ts";
import type { DatabaseClock } from "../changes/database-clock.ts";
import type { Config } from "../config/config.ts";
import { CertificateCredentials } from "../keys/credentials/certificate-credentials.ts";
import { ForgottenDenials } from "../keys/forgotten-denials.ts";
import { KeyRecords } from "../keys/key-records.ts";
import { SecretRehasher } from "../keys/secret-rehasher.ts";
import { Tiers } from "../keys/tiers.ts";
import { UsageRecorder } from "../keys/usage-recorder.ts";
import type { VerdictObserver } from "../keys/verdict-counts.ts";
import { type AgeClock, systemTimers } from "../lib/clock.ts";
import { Histograms, SIZES } from "../lib/histogram.ts";
import type { KeyRing } from "../lib/key-ring.ts";
import type { Log } from "../lib/log.ts";
import type { Limiter } from "../limits/limit.ts";
import type { Database } from "../postgres/database.ts";
import { PostgresAuditStore } from "../postgres/stores/audit-store.ts";
import { PostgresKeyStore } from "../postgres/stores/key-store.ts";
import { PostgresLoginFailureStore } from "../postgres/stores/login-failure-store.ts";
import { PostgresPasswordResetStore } from "../postgres/stores/password-reset-store.ts";
import { PostgresSessionStore } from "../postgres/stores/session-store.ts";
import { PostgresSigningKeyStore } from "../postgres/stores/signing-key-store.ts";
import { PostgresUserStore } from "../postgres/stores/user-store.ts";
import { type Asker, itself } from "../shares/holder.ts";

/** The parts that all rooms are built on. */
export interface Ground {
  readonly config: Config;
  readonly clock: AgeClock;
  readonly log: Log;
  readonly ring: KeyRing;
  readonly database: Database;
  readonly bus: ChangeBus;
  readonly feed: ChangeFeed;
  readonly breaker: DatabaseBreaker;
  readonly databaseClock: DatabaseClock;
  readonly limiter: Limiter;
  readonly verdicts: VerdictObserver;
}

export type Rooms = ReturnType<typeof createRooms>;

/**
 * The parts of the rooms that handlers of calls use. Each function `...For` makes the stores of one room for one call.
 * They wait in the queue of the call's holder, and stop when the call's signal aborts.
 */
export interface CallRooms {
  readonly ring: KeyRing;
  readonly keys: Pick<Rooms["keys"], "verification" | "managementFor" | "limitsFor">;
  readonly users: Pick<Rooms["users"], "authentication" | "accountsFor" | "administrationFor">;
  readonly signing: Pick<Rooms["signing"], "managementFor">;
  readonly audit: Pick<Rooms["audit"], "trailFor">;
}

export function createRooms(ground: Ground) {
  const tiers = new Tiers(ground.config.tiers);
  const audit = createAudit(ground);
  const signing = createSigning(ground);
  const users = createUsers(ground, tiers, audit.refusals, signing.keys);
  return { audit, keys: createKeys(ground, tiers), signing, users };
}

/** The audit trail. */
function createAudit({ clock, log, database }: Ground) {
  const store = new PostgresAuditStore(database.for({ holder: itself("audit") }));
  return {
    store,
    refusals: new RefusalRecorder({ audit: store, clock, timers: systemTimers, log }),
    trailFor: (asker: Asker) => ({ audit: new PostgresAuditStore(database.for(asker)) }),
  };
}

/** API keys and service credentials. */
function createKeys(ground: Ground, tiers: Tiers) {
  const { config, clock, log, ring, database, bus, feed, breaker, databaseClock, limiter, verdicts } = ground;
  const { cachedKeys, staleOkMs, keysPerOwner } = config;
  const format = { prefix: config.keyPrefix, environments: config.environments };
  const store = new PostgresKeyStore(database.for({ holder: itself("keys") }));
  const rehasher = new SecretRehasher({ store, ring, log, maxSecrets: cachedKeys });
  const prepared = { ring, rehasher, tiers };
  const freshness = { bus, feed, breaker, clock, databaseClock, staleOkMs };
  const records = new KeyRecords({ store, ...prepared, ...freshness, log, maxRecords: cachedKeys });
  const certificates = new CertificateCredentials({ store, ...freshness });
  bus.add(new ForgottenDenials(limiter));
  const batches = new Histograms<"BatchVerifyKeys" | "BatchCheckRateLimits">(SIZES);
  const usage = new UsageRecorder({ store, databaseClock, log, maxKeys: cachedKeys });
  return {
    store,
    format,
    records,
    certificates,
    usage,
    rehasher,
    batches,
    verification: { records, limiter, usage, format, tiers, databaseClock, clock, verdicts, batches },
    managementFor: (asker: Asker) => ({
      store: new PostgresKeyStore(database.for(asker)),
      ring,
      format,
      tiers,
      databaseClock,
      keysPerOwner,
    }),
    limitsFor(asker: Asker) {
      return { store: new PostgresKeyStore(database.for(asker)), limiter };
    },
  };
}

/** The keys that sign access tokens. */
function createSigning({ config, clock, log, ring, database, bus, feed, databaseClock }: Ground) {
  const { accessTokenMs, signingKeyMs } = config;
  const store = new PostgresSigningKeyStore(database.for({ holder: itself("people") }));
  const signing = { ring, databaseClock, log, algorithm: config.accessTokenAlgorithm };
  const keys = new SigningKeys({ ...signing, store, feed, clock, accessTokenMs, signingKeyMs });
  bus.add(keys);
  const managementFor = (asker: Asker) => ({ ...signing, store: new PostgresSigningKeyStore(database.for(asker)) });
  return { keys, managementFor };
}

/** People: their accounts, their sessions and their passwords. */
function createUsers(ground: Ground, tiers: Tiers, refusals: RefusalRecorder, signingKeys: SigningKeys) {
  const { config, clock, log, ring, bus, feed, breaker, databaseClock, limiter } = ground;
  const { keyPrefix, accessTokenMs, issuer, audience, changesPerMinute, registrationOpen, hashesPerAddress } = config;
  const { refreshIdleMs, refreshAbsoluteMs, refreshGraceMs } = config;
  const database = ground.database.for({ holder: itself("people") });
  const users = new PostgresUserStore(database);
  const sessions = new PostgresSessionStore(database);
  const sessionCache = new SessionCache({ store: sessions, feed, breaker, clock, databaseClock });
  bus.add(sessionCache);

  const { minCodePoints, memoryKib, passes } = config.password;
  const concurrency = hashConcurrency(availableParallelism(), config.workers);
  const passwords = new PasswordHasher({ ring, log, memoryKib, passes, concurrency });
  const failures = new PostgresLoginFailureStore(database);
  // One throttle for all calls, not one for each: an attempt counts although its caller gave it up.
  const loginThrottle = new LoginThrottle({ store: failures, users, refusals, ring, clock, log, hashesPerAddress });

  const verifiedTokens = new VerifiedTokens();
  const accessTokens = { signingKeys, databaseClock, issuer, audience, verifiedTokens };
  const tokens = { ...accessTokens, ring, keyPrefix, accessTokenMs };
  const lifetimes = { refreshIdleMs, refreshAbsoluteMs, refreshGraceMs };
  const checkedPasswords = { passwords, passwordRules: { minCodePoints }, loginThrottle };
  const accountDefaults = { tier: tiers.lowest.name, scopes: config.userScopes };
  const tierNames = tiers.names;
  return {
    sessions,
    sessionCache,
    failures,
    passwords,
    authentication: { ...accessTokens, sessionCache },
    accountsFor(asker: Asker) {
      const own = ground.database.for(asker);
      const stores = { users: new PostgresUserStore(own), sessions: new PostgresSessionStore(own) };
      const beginnings = { ...tokens, ...checkedPasswords, lifetimes };
      return {
        logins: { ...beginnings, ...stores, accountDefaults, registrationOpen, refusals, log },
        resets: { ...beginnings, users: stores.users, passwordResets: new PostgresPasswordResetStore(own) },
        sessions: { ...tokens, sessions: stores.sessions, lifetimes, limiter, changesPerMinute, log },
        profiles: { users: stores.users },
      };
    },
    administrationFor(asker: Asker) {
      const own = ground.database.for(asker);
      return {
        users: new PostgresUserStore(own),
        sessions: new PostgresSessionStore(own),
        passwordResets: new PostgresPasswordResetStore(own),
        ring,
        keyPrefix,
        accountDefaults,
        tierNames,
        loginThrottle,
      };
    },
  };
}
