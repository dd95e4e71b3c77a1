import type { Config } from "../config/config.ts";
import type { AgeClock } from "../lib/clock.ts";
import { Histogram, SECONDS } from "../lib/histogram.ts";
import type { Log } from "../lib/log.ts";
import type { Limiter } from "../limits/limit.ts";
import { SharedLimiter, tellUnreachable } from "../limits/limiter.ts";
import { LocalLimiter } from "../limits/local-limiter.ts";
import { RedisConnection } from "../redis/connection.ts";
import { RedisLimitStore } from "../redis/limit-store.ts";

export interface StartLimiterDeps {
  readonly config: Pick<Config, "redis" | "replicas" | "workers">;
  readonly clock: AgeClock;
  readonly log: Log;
}

export interface StartedLimiter {
  readonly limiter: Limiter;
  /** The counts of the connection to Redis. Without Redis, they stay at 0. */
  readonly redis: Pick<RedisConnection, "evictedKeys" | "commandSeconds" | "failures">;
}

/** How long a start waits for Redis. */
const REDIS_WAIT_MS = 1000;

/**
 * Starts the limiter of the configuration: over Redis, or in this process. Its connection is closed by `stack`. It
 * waits for a Redis that is up, so that the first calls are not degraded. A Redis that is down stops no start.
 */
export async function startLimiter(
  { config, clock, log }: StartLimiterDeps,
  stack: AsyncDisposableStack,
): Promise<StartedLimiter> {
  const { redis, replicas, workers } = config;
  if (redis === undefined) {
    const nothing = { evictedKeys: 0, commandSeconds: new Histogram(SECONDS), failures: 0 };
    return { limiter: new LocalLimiter({ clock, log }), redis: nothing };
  }
  const connection = new RedisConnection(redis, log);
  stack.defer(() => connection.close());
  const limiter = new SharedLimiter({ store: new RedisLimitStore({ connection }), clock, log, replicas, workers });
  stack.defer(() => limiter.close());
  if (!(await connection.ready(REDIS_WAIT_MS))) tellUnreachable(log);
  return { limiter, redis: connection };
}
