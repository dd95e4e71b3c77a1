/**
 * The one place where rooms and doors are connected: from a configuration to a service that runs. Read from top to
 * bottom it is the order of the start; `stop` undoes it from bottom to top.
 */
import { availableParallelism } from "node:os";
import { authenticateUser } from "./auth/authenticate-user.ts";
import { hashConcurrency, PasswordHasher } from "./auth/password.ts";
import { SessionCache } from "./auth/session-cache.ts";
import { SigningKeys } from "./auth/signing-keys.ts";
import { ChangeBus } from "./changes/change.ts";
import { DatabaseClock } from "./changes/database-clock.ts";
import { RecordCache } from "./changes/record-cache.ts";
import type { Config } from "./config.ts";
import { writeFirstOperator } from "./first-operator.ts";
import { AdminService } from "./gen/latchkey/v1/admin_service_pb.ts";
import { AuthService } from "./gen/latchkey/v1/auth_service_pb.ts";
import { KeyService } from "./gen/latchkey/v1/key_service_pb.ts";
import { type KeyLimits, type KeyRecord, KeyRecords, tagsOf } from "./keys/key-records.ts";
import { findCredential, looksLikeCredential } from "./keys/service-credential.ts";
import { Tiers } from "./keys/tiers.ts";
import { UsageRecorder } from "./keys/usage-recorder.ts";
import type { Clock } from "./lib/clock.ts";
import type { KeyRing } from "./lib/key-ring.ts";
import type { Log } from "./lib/log.ts";
import { SharedLimiter } from "./limits/limiter.ts";
import { LocalLimiter } from "./limits/local-limiter.ts";
import { loadMasterKeys } from "./master-keys.ts";
import type { Database } from "./postgres/database.ts";
import { PostgresKeyStore } from "./postgres/key-store.ts";
import { PostgresPasswordResetStore } from "./postgres/password-reset-store.ts";
import { PostgresSessionStore } from "./postgres/session-store.ts";
import { PostgresSigningKeyStore } from "./postgres/signing-key-store.ts";
import { PostgresUserStore } from "./postgres/user-store.ts";
import { openPreparedDatabase } from "./prepared-database.ts";
import { RedisConnection } from "./redis/connection.ts";
import { RedisLimitStore } from "./redis/limit-store.ts";
import { accessRule, checkAccess } from "./rpc/access.ts";
import { adminUserHandlers } from "./rpc/admin-user-handlers.ts";
import { authHandlers } from "./rpc/auth-handlers.ts";
import { resolveCaller } from "./rpc/caller.ts";
import { clientIp, compileTrustedProxies } from "./rpc/client-ip.ts";
import { HealthRegistry } from "./rpc/health.ts";
import { keyHandlers } from "./rpc/key-handlers.ts";
import { OpsServer } from "./rpc/ops-server.ts";
import { PageTokens } from "./rpc/page-token.ts";
import { bind } from "./rpc/routes.ts";
import { RpcServer } from "./rpc/server.ts";
import { serviceCredentialHandlers } from "./rpc/service-credential-handlers.ts";
import { verifyHandlers } from "./rpc/verify-handlers.ts";

export interface ServiceOptions {
  readonly config: Config;
  readonly clock: Clock;
  readonly log: Log;
  /** Adds to the database's clock; only tests move it. */
  readonly timeShiftMs?: () => number;
}

/** A service that runs. */
export interface Service {
  /** `host:port` of the RPCs. */
  readonly address: string;
  /** `host:port` for operators. */
  readonly opsAddress: string;
  /** Drains and closes everything. Calls in flight have as long as the configuration says. */
  stop(): Promise<void>;
}

/** Longest age of a copy of the truth until the change feed prolongs it. */
const RECORD_LIFE_MS = 5000;
const MAX_RECORDS = 100_000;
const MAX_ABSENT = 10_000;
const DATABASE_WAIT_MS = 60_000;

/** Starts a service. It is ready when this resolves: its health says SERVING. */
export async function startService(options: ServiceOptions): Promise<Service> {
  const { config, log } = options;
  const ring = loadMasterKeys(config);
  const bus = new ChangeBus();
  const database = await openPreparedDatabase({
    ...options,
    ring,
    waitMs: DATABASE_WAIT_MS,
    onChanges: (changes) => bus.publish(changes),
  });
  const limits = startLimiter(options);
  try {
    const room = createRooms({ options, ring, database, bus, limiter: limits.limiter });
    await database.exclusively(() => writeFirstOperator({ ...room.keyDeps, config, log }));
    const health = new HealthRegistry();
    const ops = new OpsServer({ log, isServing: () => health.get("") === "SERVING", metrics: () => "" });
    const server = createServer(options, room, health);
    room.usage.start();
    const opsAddress = await ops.start(config.opsListen);
    const address = await server.start();
    health.setAll("SERVING");
    const stop = async () => {
      await server.stop();
      await room.usage.stop();
      await ops.stop();
      limits.close();
      await database.close();
    };
    return { address, opsAddress, stop };
  } catch (error) {
    limits.close();
    await database.close();
    throw error;
  }
}

function startLimiter({ config, clock, log }: ServiceOptions) {
  if (config.redis === undefined) return { limiter: new LocalLimiter({ clock }), close: () => {} };
  const connection = new RedisConnection(config.redis, log);
  const store = new RedisLimitStore({ connection });
  const { replicas, workers } = config;
  const limiter = new SharedLimiter({ store, clock, log, replicas, workers });
  const close = () => {
    limiter.close();
    connection.close();
  };
  return { limiter, close };
}

interface Ground {
  readonly options: ServiceOptions;
  readonly ring: KeyRing;
  readonly database: Database;
  readonly bus: ChangeBus;
  readonly limiter: LocalLimiter | SharedLimiter;
}

/** The business rooms, as each door will see them. */
function createRooms({ options, ring, database, bus, limiter }: Ground) {
  const { config, clock, log } = options;
  const databaseClock = new DatabaseClock(clock);
  const tiers = new Tiers(config.tiers);
  const format = { prefix: config.keyPrefix, environments: config.environments };
  const store = new PostgresKeyStore(database);

  const copies = { clock, maxEntries: MAX_RECORDS, maxAbsent: MAX_ABSENT, lifeMs: RECORD_LIFE_MS, tagsOf };
  const cache = new RecordCache<KeyRecord>(copies);
  const limitsCache = new RecordCache<KeyLimits>(copies);
  const records = new KeyRecords({ store, cache, limitsCache, ring, tiers, clock, databaseClock, log });
  const usage = new UsageRecorder({ store, log });

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

  bus.subscribe((change) => {
    for (const copy of [cache, limitsCache]) copy.dropTag(change.subjectId);
  });
  bus.subscribe((change) => sessionCache.apply(change));
  bus.subscribe((change) => signingKeys.apply(change));

  const keyDeps = { store, ring, format, tiers, clock, databaseClock, keysPerOwner: config.keysPerOwner };
  const verifyDeps = { ...keyDeps, records, limiter, usage, maxStalenessMs: RECORD_LIFE_MS };
  const authDeps = {
    ring,
    log,
    clock,
    databaseClock,
    sessions,
    sessionCache,
    signingKeys,
    users: new PostgresUserStore(database),
    passwordResets: new PostgresPasswordResetStore(database),
    passwords: new PasswordHasher({
      ring,
      log,
      ...config.password,
      concurrency: hashConcurrency(availableParallelism(), config.workers),
    }),
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
  return { ring, format, databaseClock, records, usage, signingKeys, keyDeps, verifyDeps, authDeps };
}

function createServer(
  { config, clock, log }: ServiceOptions,
  room: ReturnType<typeof createRooms>,
  health: HealthRegistry,
) {
  const pageTokens = new PageTokens(room.ring);
  const bindings = [
    bind(AuthService, authHandlers({ ...room.authDeps, pageTokens })),
    bind(KeyService, { ...keyHandlers({ ...room.keyDeps, pageTokens }), ...verifyHandlers(room.verifyDeps) }),
    bind(AdminService, {
      ...adminUserHandlers({ ...room.authDeps, pageTokens }),
      ...serviceCredentialHandlers({ ...room.keyDeps, pageTokens }),
    }),
  ];
  const callerDeps = {
    looksLikeCredential: (token: string) => looksLikeCredential(room.format, token),
    findCredential: (token: string) => findCredential(room, token),
    authenticateUser: (accessToken: string) => authenticateUser(room.authDeps, { accessToken }),
    databaseClock: room.databaseClock,
    used: (credentialId: string, atMs: number) => room.usage.used(credentialId, atMs),
  };
  const trusted = compileTrustedProxies(config.trustedProxies);
  return new RpcServer(
    {
      clock,
      log,
      health,
      accessRule,
      checkAccess,
      resolveCaller: (head) => resolveCaller(callerDeps, head),
      clientIp: (head) => clientIp(head, trusted),
      jwks: () => room.signingKeys.jwks(),
    },
    bindings,
    { ...config.listen, ...config },
  );
}
