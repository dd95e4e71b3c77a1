/** Faults of Redis itself. */
import { redisCommand } from "../support/own-redis.ts";
import { type FaultKind, nothing } from "./fault.ts";
import type { World } from "./world.ts";

/** An address without a server. */
const NO_PRIMARY = ["127.0.0.1", "1"];

export const REDIS_FAULTS: readonly FaultKind[] = [
  {
    name: "redis frozen",
    holds: "redis",
    async begin({ redis }) {
      await redis.freeze();
      return async () => redis.resume();
    },
  },
  {
    name: "redis killed and started",
    holds: "redis",
    emptiesRedis: true,
    async begin({ redis }) {
      await redis.kill();
      return () => redis.restart();
    },
  },
  {
    name: "redis restarted",
    holds: "redis",
    isBrief: true,
    emptiesRedis: true,
    async begin({ redis }) {
      await redis.restart();
      return nothing;
    },
  },
  {
    name: "redis flushed",
    holds: "redis",
    isBrief: true,
    emptiesRedis: true,
    async begin(world) {
      await command(world, "FLUSHALL");
      return nothing;
    },
  },
  {
    name: "redis forgets its scripts",
    holds: "redis",
    isBrief: true,
    async begin(world) {
      await command(world, "SCRIPT", "FLUSH");
      return nothing;
    },
  },
  {
    name: "redis ends its clients",
    holds: "redis",
    isBrief: true,
    async begin(world) {
      await command(world, "CLIENT", "KILL", "TYPE", "normal");
      return nothing;
    },
  },
  {
    name: "redis answers no writes",
    holds: "redis",
    async begin(world) {
      await command(world, "CLIENT", "PAUSE", "60000", "WRITE");
      return () => command(world, "CLIENT", "UNPAUSE");
    },
  },
  {
    name: "redis is read-only",
    holds: "redis",
    async begin(world) {
      await command(world, "REPLICAOF", ...NO_PRIMARY);
      return () => command(world, "REPLICAOF", "NO", "ONE");
    },
  },
  {
    name: "redis is full",
    holds: "redis",
    async begin(world) {
      await command(world, "CONFIG", "SET", "maxmemory", "1");
      return () => command(world, "CONFIG", "SET", "maxmemory", "0");
    },
  },
];

function command({ redis }: World, ...words: readonly string[]): Promise<string> {
  return redisCommand(redis.port, ...words);
}
