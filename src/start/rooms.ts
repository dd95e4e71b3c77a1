/** The business rooms as service.ts sees them: each with what it uses. Nothing here listens, and nothing starts. */
import { availableParallelism } from "node:os";
import { RefusalRecorder } from "../audit/refusal-recorder.ts";
import { hashConcurrency, PasswordHasher } from "../auth/passwords/password.ts";
import { SessionCache } from "../auth/session-cache.ts";
import { SigningKeys } from "../auth/signing/signing-keys.ts";
import { LoginThrottle } from "../auth/throttle/login-throttle.ts";
import type { ChangeBus } from "../changes/change.ts";
import type { ChangeFeed } from "../changes/change-feed.ts";
import type { DatabaseBreaker } from "../changes/database-breaker.ts";
import type { DatabaseClock } from "../changes/database-clock.ts";
import { RecordCache } from "../changes/record-cache.ts";
import type { Config } from "../config/config.ts";
import { bytesOf, KEY_KINDS, type KeyLimits, type KeyRecord, KeyRecords, tagsOf } from "../keys/key-records.ts";
import { SecretRehasher } from "../keys/secret-rehasher.ts";
import { Tiers } from "../keys/tiers.ts";
import { UsageRecorder } from "../keys/usage-recorder.ts";
import { type AgeClock, systemTimers } from "../lib/clock.ts";
import type { KeyRing } from "../lib/key-ring.ts";
import type { Log } from "../lib/log.ts";
import type { Limiter } from "../limits/limit.ts";
import type { Database, ManagedDatabase } from "../postgres/database.ts";
import { PostgresAuditStore } from "../postgres/stores/audit-store.ts";
import { PostgresKeyStore } from "../postgres/stores/key-store.ts";
import { PostgresLoginFailureStore } from "../postgres/stores/login-failure-store.ts";
import { PostgresPasswordResetStore } from "../postgres/stores/password-reset-store.ts";
import { PostgresSessionStore } from "../postgres/stores/session-store.ts";
import { PostgresSigningKeyStore } from "../postgres/stores/signing-key-store.ts";
import { PostgresUserStore } from "../postgres/stores/user-store.ts";
import { type Asker, itself } from "../shares/holder.ts";

const MAX_ABSENT = 10_000;
/** So much memory for each key that may be kept: what most take, and half of it again. One key alone can have 100 times that. */
const BYTES_PER_CACHED_KEY = 1536;

/** What the rooms stand on. */
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
}

export type Rooms = ReturnType<typeof createRooms>;

export function createRooms(ground: Ground) {
  const tiers = new Tiers(ground.config.tiers);
  const audit = new PostgresAuditStore(ground.database.for({ holder: itself("audit") }));
  const refusals = new RefusalRecorder({ audit, ...ground, timers: systemTimers });
  const { limiter } = ground;
  const rooms = { audit, refusals, limiter, ...createKeys(ground, tiers), ...createPeople(ground, tiers, refusals) };
  return { ...rooms, within: (asker: Asker) => onDatabase(rooms, ground.database.for(asker)) };
}

/** What handlers of calls see: nothing that asks the database of management for the service itself. */
export interface CallRooms extends Pick<Rooms, "within"> {
  readonly ring: KeyRing;
  readonly verifyDeps: Omit<Rooms["verifyDeps"], "store">;
}

type ManagedRooms = Pick<ReturnType<typeof createKeys>, "keyDeps" | "verifyDeps"> & ReturnType<typeof createPeople>;

/**
 * What management uses, on another view of the database. What guards passwords stays as it is: who gives up an attempt
 * has made it.
 */
function onDatabase({ keyDeps, verifyDeps, authDeps, signingKeyDeps }: ManagedRooms, database: ManagedDatabase) {
  const { limiter } = verifyDeps;
  return {
    limiter,
    keyDeps: { ...keyDeps, store: new PostgresKeyStore(database) },
    authDeps: {
      ...authDeps,
      users: new PostgresUserStore(database),
      sessions: new PostgresSessionStore(database),
      passwordResets: new PostgresPasswordResetStore(database),
    },
    signingKeyDeps: { ...signingKeyDeps, store: new PostgresSigningKeyStore(database) },
    audit: new PostgresAuditStore(database),
  };
}

/** API keys and service credentials. */
function createKeys(ground: Ground, tiers: Tiers) {
  const { config, clock, log, ring, database, bus, feed, breaker, databaseClock, limiter } = ground;
  const format = { prefix: config.keyPrefix, environments: config.environments };
  const store = new PostgresKeyStore(database.for({ holder: itself("keys") }));
  const copies = {
    clock,
    feed,
    breaker,
    maxEntries: config.cachedKeys,
    maxAbsent: MAX_ABSENT,
    staleOkMs: config.staleOkMs,
    kinds: KEY_KINDS,
    tagsOf,
  };
  const cache = new RecordCache<KeyRecord>({
    ...copies,
    bytes: { most: config.cachedKeys * BYTES_PER_CACHED_KEY, of: bytesOf },
  });
  const limitsCache = new RecordCache<KeyLimits>(copies);
  bus.add(cache);
  bus.add(limitsCache);
  const rehasher = new SecretRehasher({ store, ring, log, maxSecrets: config.cachedKeys });
  const records = new KeyRecords({ store, cache, limitsCache, ring, rehasher, tiers, clock, databaseClock, log });
  const usage = new UsageRecorder({ store, databaseClock, log, maxKeys: config.cachedKeys });
  const keyDeps = { store, ring, format, tiers, databaseClock, keysPerOwner: config.keysPerOwner };
  const verifyDeps = { ...keyDeps, records, limiter, usage, feed };
  return { format, records, keyRecords: cache, usage, rehasher, keyDeps, verifyDeps };
}

/** People, their sessions, and the keys that sign access tokens. */
function createPeople(ground: Ground, tiers: Tiers, refusals: RefusalRecorder) {
  const { config, clock, log, ring, bus, feed, breaker, databaseClock, limiter } = ground;
  const database = ground.database.for({ holder: itself("people") });
  const sessions = new PostgresSessionStore(database);
  const sessionCache = new SessionCache({ store: sessions, feed, breaker, clock, databaseClock });
  const signingKeyDeps = {
    store: new PostgresSigningKeyStore(database),
    ring,
    databaseClock,
    log,
    algorithm: config.accessTokenAlgorithm,
  };
  const { accessTokenMs, signingKeyMs } = config;
  const signingKeys = new SigningKeys({ ...signingKeyDeps, feed, clock, accessTokenMs, signingKeyMs });
  bus.add(sessionCache);
  bus.add(signingKeys);
  const passwords = new PasswordHasher({
    ring,
    log,
    ...config.password,
    concurrency: hashConcurrency(availableParallelism(), config.workers),
  });
  const users = new PostgresUserStore(database);
  const failures = new PostgresLoginFailureStore(database);
  const authDeps = {
    ring,
    log,
    clock,
    databaseClock,
    sessions,
    sessionCache,
    signingKeys,
    passwords,
    users,
    refusals,
    limiter,
    changesPerMinute: config.changesPerMinute,
    passwordResets: new PostgresPasswordResetStore(database),
    loginThrottle: new LoginThrottle({
      ...{ store: failures, users, refusals, ring, clock, log },
      hashesPerAddress: config.hashesPerAddress,
    }),
    passwordRules: config.password,
    lifetimes: config,
    accountDefaults: { tier: tiers.lowest.name, scopes: config.userScopes },
    tierNames: tiers.names,
    registrationOpen: config.registrationOpen,
    keyPrefix: config.keyPrefix,
    accessTokenMs,
    issuer: config.issuer,
    audience: config.audience,
  };
  return { signingKeys, signingKeyDeps, authDeps };
}
