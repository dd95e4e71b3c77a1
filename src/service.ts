/**
 * The one place where rooms and doors are connected: from a configuration to a service that runs. Read from top to
 * bottom it is the order of the start; `stop` undoes it from bottom to top.
 */
import { authenticateUser } from "./auth/authenticate-user.ts";
import { ChangeBus } from "./changes/change.ts";
import type { Config } from "./config.ts";
import { writeFirstOperator } from "./first-operator.ts";
import { AdminService } from "./gen/latchkey/v1/admin_service_pb.ts";
import { AuthService } from "./gen/latchkey/v1/auth_service_pb.ts";
import { KeyService } from "./gen/latchkey/v1/key_service_pb.ts";
import { findCredential, looksLikeCredential } from "./keys/service-credential.ts";
import type { Clock } from "./lib/clock.ts";
import type { Log } from "./lib/log.ts";
import { SharedLimiter } from "./limits/limiter.ts";
import { LocalLimiter } from "./limits/local-limiter.ts";
import { loadMasterKeys } from "./master-keys.ts";
import { openPreparedDatabase } from "./prepared-database.ts";
import { RedisConnection } from "./redis/connection.ts";
import { RedisLimitStore } from "./redis/limit-store.ts";
import { createRooms, type Rooms } from "./rooms.ts";
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

const DATABASE_WAIT_MS = 60_000;
const REDIS_WAIT_MS = 1000;

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
  const limits = await startLimiter(options);
  try {
    const room = createRooms({ ...options, ring, database, bus, limiter: limits.limiter });
    await writeFirstOperator({ ...room.keyDeps, database, config, log });
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

async function startLimiter({ config, clock, log }: ServiceOptions) {
  if (config.redis === undefined) return { limiter: new LocalLimiter({ clock }), close: () => {} };
  const connection = new RedisConnection(config.redis, log);
  const store = new RedisLimitStore({ connection });
  const { replicas, workers } = config;
  const limiter = new SharedLimiter({ store, clock, log, replicas, workers });
  // A Redis that is up is waited for, so that the first calls are not degraded; one that is down stops no start.
  if (!(await connection.ready(REDIS_WAIT_MS)))
    log.warn("Redis is out of reach; limits are judged by this process alone");
  const close = () => {
    limiter.close();
    connection.close();
  };
  return { limiter, close };
}

function createServer({ config, clock, log }: ServiceOptions, room: Rooms, health: HealthRegistry) {
  const pageTokens = new PageTokens(room.keyDeps.ring);
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
