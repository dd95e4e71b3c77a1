/** The business rooms as service.ts sees them: each with what it uses. Nothing here listens, and nothing starts. */
import { availableParallelism } from "node:os";
import { hashConcurrency, PasswordHasher } from "./auth/password.ts";
import { SessionCache } from "./auth/session-cache.ts";
import { SigningKeys } from "./auth/signing-keys.ts";
import type { ChangeBus } from "./changes/change.ts";
import { DatabaseClock } from "./changes/database-clock.ts";
import { RecordCache } from "./changes/record-cache.ts";
import type { Config } from "./config.ts";
import { type KeyLimits, type KeyRecord, KeyRecords, tagsOf } from "./keys/key-records.ts";
import { Tiers } from "./keys/tiers.ts";
import { UsageRecorder } from "./keys/usage-recorder.ts";
import type { Clock } from "./lib/clock.ts";
import type { KeyRing } from "./lib/key-ring.ts";
import type { Log } from "./lib/log.ts";
import type { Limiter } from "./limits/limit.ts";
import type { Database } from "./postgres/database.ts";
import { PostgresKeyStore } from "./postgres/key-store.ts";
import { PostgresPasswordResetStore } from "./postgres/password-reset-store.ts";
import { PostgresSessionStore } from "./postgres/session-store.ts";
import { PostgresSigningKeyStore } from "./postgres/signing-key-store.ts";
import { PostgresUserStore } from "./postgres/user-store.ts";

/** Longest age of a copy of the truth until the change feed prolongs it. */
const RECORD_LIFE_MS = 5000;
const MAX_RECORDS = 100_000;
const MAX_ABSENT = 10_000;

/** What the rooms stand on. */
export interface Ground {
  readonly config: Config;
  readonly clock: Clock;
  readonly log: Log;
  readonly ring: KeyRing;
  readonly database: Database;
  readonly bus: ChangeBus;
  readonly limiter: Limiter;
}

export type Rooms = ReturnType<typeof createRooms>;

export function createRooms(ground: Ground) {
  const databaseClock = new DatabaseClock(ground.clock);
  const tiers = new Tiers(ground.config.tiers);
  return { databaseClock, ...createKeys(ground, databaseClock, tiers), ...createPeople(ground, databaseClock, tiers) };
}

/** API keys and service credentials. */
function createKeys(
  { config, clock, log, ring, database, bus, limiter }: Ground,
  databaseClock: DatabaseClock,
  tiers: Tiers,
) {
  const format = { prefix: config.keyPrefix, environments: config.environments };
  const store = new PostgresKeyStore(database);
  const copies = { clock, maxEntries: MAX_RECORDS, maxAbsent: MAX_ABSENT, lifeMs: RECORD_LIFE_MS, tagsOf };
  const cache = new RecordCache<KeyRecord>(copies);
  const limitsCache = new RecordCache<KeyLimits>(copies);
  bus.subscribe((change) => {
    for (const copy of [cache, limitsCache]) copy.dropTag(change.subjectId);
  });
  const records = new KeyRecords({ store, cache, limitsCache, ring, tiers, clock, databaseClock, log });
  const usage = new UsageRecorder({ store, log });
  const keyDeps = { store, ring, format, tiers, clock, databaseClock, keysPerOwner: config.keysPerOwner };
  const verifyDeps = { ...keyDeps, records, limiter, usage, maxStalenessMs: RECORD_LIFE_MS };
  return { format, records, usage, keyDeps, verifyDeps };
}

/** People, their sessions, and the keys that sign access tokens. */
function createPeople({ config, clock, log, ring, database, bus }: Ground, databaseClock: DatabaseClock, tiers: Tiers) {
  const sessions = new PostgresSessionStore(database);
  const sessionCache = new SessionCache({ store: sessions, clock, databaseClock });
  const signingKeys = new SigningKeys({
    store: new PostgresSigningKeyStore(database),
    ring,
    clock,
    databaseClock,
    log,
    algorithm: config.accessTokenAlgorithm,
    accessTokenMs: config.accessTokenMs,
  });
  bus.subscribe((change) => sessionCache.apply(change));
  bus.subscribe((change) => signingKeys.apply(change));
  const passwords = new PasswordHasher({
    ring,
    log,
    ...config.password,
    concurrency: hashConcurrency(availableParallelism(), config.workers),
  });
  const authDeps = {
    ring,
    log,
    clock,
    databaseClock,
    sessions,
    sessionCache,
    signingKeys,
    passwords,
    users: new PostgresUserStore(database),
    passwordResets: new PostgresPasswordResetStore(database),
    passwordRules: config.password,
    lifetimes: config,
    accountDefaults: { tier: tiers.lowest.name, scopes: config.userScopes },
    tierNames: tiers.names,
    registrationOpen: config.registrationOpen,
    keyPrefix: config.keyPrefix,
    accessTokenMs: config.accessTokenMs,
    issuer: config.issuer,
    audience: config.audience,
  };
  return { signingKeys, authDeps };
}
