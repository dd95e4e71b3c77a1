import type { Redis } from "ioredis";
import { faultNamed, type RedisFault, redisFault } from "./redis-fault.ts";

/**
 * Asks a server that was just connected to whether it is what REDIS_URL names: a server by itself that has the database.
 * Nothing may be counted on this connection before: the client goes on in database 0 where it was refused another one.
 *
 * HELLO tells the mode without any permission. Redis 5 and some proxies have none; they are no cluster's nodes.
 *
 * @returns what is wrong; undefined = it may be used
 */
export async function serverFault(redis: Redis, database: number): Promise<RedisFault | undefined> {
  const [hello, select] = await Promise.allSettled([
    redis.call("hello"),
    database === 0 ? undefined : redis.call("select", [database]),
  ]);
  if (hello.status === "rejected") {
    const fault = redisFault(hello.reason);
    if (fault.code !== "NO_COMMAND") return fault;
  }
  const mode = hello.status === "fulfilled" ? modeIn(hello.value) : undefined;
  if (mode === "cluster") return faultNamed("CLUSTER_NODE");
  if (mode === "sentinel") return faultNamed("SENTINEL");
  if (select.status === "rejected") return redisFault(select.reason);
  if (select.value !== undefined && select.value !== "OK") return faultNamed("NO_DATABASE");
  return undefined;
}

/** HELLO answers names and values by turns. */
function modeIn(reply: unknown): unknown {
  return Array.isArray(reply) ? reply[reply.indexOf("mode") + 1] : undefined;
}
