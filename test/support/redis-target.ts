/** The target of a Redis, as the service reads it from its settings. */
import { type Environment, readConfig } from "../../src/config/config.ts";
import type { RedisTarget } from "../../src/redis/connection.ts";

/** @param more further settings, such as LATCHKEY_REDIS_CA_FILE */
export function redisAt(url: string, more: Environment = {}): RedisTarget {
  return readConfig({ REDIS_URL: url, ...more }).redis!;
}

export function clusterAt(nodes: string, more: Environment = {}): RedisTarget {
  return readConfig({ REDIS_CLUSTER_NODES: nodes, ...more }).redis!;
}
