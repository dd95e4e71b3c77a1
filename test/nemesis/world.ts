/**
 * The world of a run: three processes, each with its own links to one PostgreSQL and one Redis, clients with near
 * verification, and a neighbour.
 */
import { randomBytes } from "node:crypto";
import { setTimeout as pause } from "node:timers/promises";
import pg from "pg";
import { freePort, privateFolder } from "../support/child-process.ts";
import { startFaultProxy } from "../support/fault-proxy.ts";
import { type PostgresServer, startPostgres } from "../support/own-postgres.ts";
import { type RedisServer, redisCommand, startRedis } from "../support/own-redis.ts";
import { bootstrapOperator, serviceEnvironment } from "../support/spawned-service.ts";
import { until } from "../support/until.ts";
import { installLedger, type Query } from "./ledger.ts";
import { NearClients } from "./near.ts";
import { type Neighbour, startNeighbour } from "./neighbour.ts";
import { Node } from "./node.ts";

export const PROCESSES = 3;
export const STALE_OK_MS = 10_000;
/** Longer than any fault, so that a repeated refresh is always within the grace. */
const GRACE_SECONDS = 300;
export const DATABASE = "latchkey";
/** The role of the service. It is not a superuser, so that limits of connections hold for it. */
export const ROLE = "latchkey_service";

export interface World extends AsyncDisposable {
  readonly postgres: PostgresServer;
  readonly redis: RedisServer;
  readonly nodes: readonly Node[];
  readonly neighbour: Neighbour;
  /** Started by its first `start`, which names their credential. */
  readonly near: NearClients;
  /** The first operator's credential, scope `admin`. */
  readonly admin: string;
  /** Runs a statement as a superuser in the service's database, on a direct connection of its own. */
  readonly query: Query;
  /** Ends everything that a fault may have left, and waits until each process is ready and answers. */
  heal(): Promise<void>;
}

/** @param nodeFlags flags of Node for each process, such as those for a fault in its source */
export async function startWorld(nodeFlags: readonly string[]): Promise<World> {
  const [postgres, redis] = await Promise.all([startPostgres(), startRedis()]);
  const query = queryOf(postgres.url(DATABASE));
  const password = randomBytes(12).toString("hex");
  await postgres.sql("alter system set track_commit_timestamp = on");
  await postgres.restart();
  await postgres.sql(`create role ${ROLE} login password '${password}'`);
  await postgres.sql(`create database ${DATABASE} owner ${ROLE}`);
  await postgres.createDatabase("neighbour");
  const url = (port: number) => `postgres://${ROLE}:${password}@127.0.0.1:${port}/${DATABASE}`;
  const settings = {
    DATABASE_URL: url(postgres.port),
    REDIS_URL: redis.url,
    LATCHKEY_DATA_DIR: privateFolder("latchkey-nemesis-"),
    LATCHKEY_STALE_OK_SECONDS: `${STALE_OK_MS / 1000}`,
    LATCHKEY_REFRESH_GRACE_SECONDS: `${GRACE_SECONDS}`,
    LATCHKEY_REPLICAS: `${PROCESSES}`,
    LATCHKEY_KEYS_PER_OWNER: "100000",
    // Cheap hashes, because no rule depends on their cost.
    LATCHKEY_ARGON2_MEMORY_KIB: "1024",
    LATCHKEY_ARGON2_PASSES: "1",
  };
  const env = serviceEnvironment(settings);
  const admin = await bootstrapOperator(env);
  await installLedger(query);
  const nodes = await Promise.all(
    Array.from({ length: PROCESSES }, async (_, index) => {
      const [postgresLink, redisLink] = [await startFaultProxy(postgres.port), await startFaultProxy(redis.port)];
      const [port, opsPort] = [await freePort(), await freePort()];
      const own = {
        DATABASE_URL: url(postgresLink.port),
        REDIS_URL: `redis://127.0.0.1:${redisLink.port}`,
        LATCHKEY_LISTEN: `127.0.0.1:${port}`,
        LATCHKEY_OPS_LISTEN: `127.0.0.1:${opsPort}`,
      };
      return new Node({
        index,
        port,
        opsPort,
        env: { ...env, ...own },
        nodeFlags,
        postgres: postgresLink,
        redis: redisLink,
      });
    }),
  );
  await Promise.all(nodes.map((node) => node.ready()));
  const nearLinks = await Promise.all(nodes.map(({ port }) => startFaultProxy(port)));
  const near = new NearClients(nearLinks, nodeFlags);
  const neighbour = startNeighbour(postgres.url("neighbour"));
  return {
    postgres,
    redis,
    nodes,
    neighbour,
    near,
    admin,
    query,
    async heal() {
      await heal(nodes, postgres, redis);
      for (const link of nearLinks) await link.restore();
      await near.ready();
    },
    async [Symbol.asyncDispose]() {
      await neighbour.stop();
      await Promise.all([near.kill(), ...nodes.map((node) => node.kill())]);
      await Promise.all(
        [...nearLinks, ...nodes.flatMap((node) => [node.postgres, node.redis])].map((link) => link.stop()),
      );
      await Promise.all([postgres.stop(), redis.stop()]);
    },
  };
}

async function heal(nodes: readonly Node[], postgres: PostgresServer, redis: RedisServer): Promise<void> {
  await until(() => postgres.sql("select 1").then(isTrue, isFalse), "PostgreSQL answers");
  await until(() => redisCommand(redis.port, "PING").then(isTrue, isFalse), "Redis answers");
  for (const node of nodes) {
    await node.postgres.restore();
    await node.redis.restore();
    // A process whose start gave up is started again.
    await node.ready().catch(() => node.ready());
  }
}

const isTrue = () => true;
const isFalse = () => false;
const MOST_TRIES = 100;

/** Runs each statement on a connection of its own, so that a fault of one connection does not disturb the next. */
export function queryOf(url: string): Query {
  return async (sql, parameters) => {
    for (let tries = 1; ; tries++) {
      const client = new pg.Client({ connectionString: url, application_name: "nemesis" });
      client.on("error", () => {});
      try {
        await client.connect();
        return (await client.query(sql, parameters)).rows;
      } catch (error) {
        if (tries === MOST_TRIES || !isConnectionFault(error)) throw error;
        await pause(100);
      } finally {
        client.end().catch(() => {});
      }
    }
  };
}

/** Whether the server is starting, stopping or down. Any other error is a bug of the run. */
function isConnectionFault(error: unknown): boolean {
  const { code = "" } = error as { readonly code?: string };
  return /^(57P0|ECONN|08)/.test(code) || /Connection terminated/.test(String(error));
}
