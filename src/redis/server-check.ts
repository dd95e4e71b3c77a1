import type { Redis } from "ioredis";
import { faultNamed, type RedisFault, redisFault } from "./redis-fault.ts";

/**
 * Checks that a newly connected server is what REDIS_URL names: a single server that has the database. Nothing may be
 * counted on the connection before this, because the client stays in database 0 if it was refused another one.
 *
 * HELLO reports the mode and needs no permission. Redis 5 and some proxies don't have HELLO; they are not nodes of a
 * cluster.
 *
 * @returns the fault; undefined = the server may be used
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

/** HELLO answers with alternating names and values. */
function modeIn(reply: unknown): unknown {
  return Array.isArray(reply) ? reply[reply.indexOf("mode") + 1] : undefined;
}
