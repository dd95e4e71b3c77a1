/** All servers of a run, and the core of each. */
import { Redis } from "ioredis";
import { childrenOf } from "../test/support/child-process.ts";
import { hasPostgres, type PostgresServer, startPostgres } from "../test/support/own-postgres.ts";
import { hasRedis, type RedisServer, startRedis } from "../test/support/own-redis.ts";
import { type Cores, pin } from "./cores.ts";
import { type Server, startPeer } from "./server.ts";
import { type Service, startService } from "./service.ts";

/** PostgreSQL and Redis of this run, if this machine has them. */
export interface Stores {
  readonly postgres: PostgresServer | undefined;
  readonly redisServer: RedisServer | undefined;
  /** A client that asks Redis for its CPU time. */
  readonly redis: Redis | undefined;
}

/** The servers that the rows call. */
export interface Targets {
  readonly bare: Server;
  readonly connectNode: Server;
  readonly grpcJs: Server;
  /** A service on the embedded database, with limits in the process. */
  readonly embedded: Service;
  /** A service on PostgreSQL and Redis, or on the one of them that this machine has. */
  readonly stored: { readonly service: Service; readonly hasPostgres: boolean; readonly hasRedis: boolean } | undefined;
}

/** Starts PostgreSQL and Redis, if this machine has them. @param stack ends them */
export async function startStores(stack: AsyncDisposableStack): Promise<Stores> {
  const postgres = hasPostgres() ? stack.use(await startPostgres()) : undefined;
  const redisServer = hasRedis() ? stack.use(await startRedis()) : undefined;
  const redis = redisServer && new Redis(redisServer.url);
  stack.defer(() => redis?.disconnect());
  return { postgres, redisServer, redis };
}

/**
 * Starts the servers that the rows call.
 *
 * @param stack ends them
 * @param unseenKeys number of unseen keys of each service
 */
export async function startTargets(
  stack: AsyncDisposableStack,
  { postgres, redisServer }: Stores,
  unseenKeys: number,
): Promise<Targets> {
  const owned = async <T extends { stop(): Promise<void> }>(starting: Promise<T>): Promise<T> => {
    const server = await starting;
    stack.defer(() => server.stop());
    return server;
  };
  const urls = {
    ...(postgres && { DATABASE_URL: postgres.url() }),
    ...(redisServer && { REDIS_URL: redisServer.url }),
  };
  const hasStores = postgres !== undefined || redisServer !== undefined;
  const embedding = owned(startService({ stores: {}, unseenKeys }));
  const storing = hasStores ? owned(startService({ stores: urls, unseenKeys })) : undefined;
  // If one start fails, `stack` owns the other service before the error is thrown.
  await Promise.allSettled([embedding, storing]);
  const service = await storing;
  return {
    bare: await owned(startPeer("bare.ts")),
    connectNode: await owned(startPeer("connect-node.ts")),
    grpcJs: await owned(startPeer("grpc-js.ts")),
    embedded: await embedding,
    stored: service && { service, hasPostgres: postgres !== undefined, hasRedis: redisServer !== undefined },
  };
}

/** Pins every process, including this one. Call it when all have started, so that the starts can use every core. */
export function pinAll(cores: Cores, { postgres, redisServer }: Stores, targets: Targets): void {
  const { bare, connectNode, grpcJs, embedded, stored } = targets;
  const servers = [bare, connectNode, grpcJs, embedded, ...(stored ? [stored.service] : [])];
  for (const server of servers) pin(server.pid, cores.server);
  const backends = postgres ? [postgres.pid, ...childrenOf(postgres.pid)] : [];
  for (const pid of [...backends, ...(redisServer ? [redisServer.pid] : [])]) pin(pid, cores.stores);
  pin(process.pid, cores.load);
}
