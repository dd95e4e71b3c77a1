import type { Redis } from "ioredis";
import type { Timers } from "../lib/clock.ts";
import type { Log, WarnLine } from "../lib/log.ts";
import { redisFault } from "./redis-fault.ts";

const LOOK_EVERY_MS = 30_000;
/** A growing number of evicted keys is logged at most every 10 minutes. */
const LOOKS_PER_WARNING = 20;
const NO_EVICTION = "noeviction";
/** The only text from Redis that gets into the log. */
const POLICY = /^[a-z-]{1,30}$/;

export interface EvictionsDeps {
  readonly log: Log;
  readonly timers: Timers;
  /** Every connected server that keeps windows. */
  readonly servers: () => readonly Redis[];
}

/**
 * Notices that Redis evicts windows to make room. An evicted window starts again at 0 and admits its figure once more,
 * and no answer of Redis shows that. So this class asks each server at each connect and every 30 s, and warns the
 * operator.
 */
export class Evictions {
  readonly #deps: EvictionsDeps;
  /** By address: the policy that was logged last. */
  readonly #policies = new Map<string, string>();
  readonly #evicted = new Map<string, number>();
  #looksUntilWarning = 0;
  #cancel: () => void = () => {};

  /** Starts to ask the servers. */
  constructor(deps: EvictionsDeps) {
    this.#deps = deps;
    this.#lookLater();
  }

  /** Number of keys that the servers have evicted since their start, by their own count; 0 if they don't report it. */
  get evicted(): number {
    return [...this.#evicted.values()].reduce((sum, count) => sum + count, 0);
  }

  /** Asks one server now. Never rejects. */
  async look(redis: Redis): Promise<void> {
    const { host, port, path } = redis.options;
    const server = path ?? `${host}:${port}`;
    try {
      const [memory, stats] = await Promise.all([redis.info("memory"), redis.info("stats")]);
      this.#judge(server, fieldOf(memory, "maxmemory_policy"), fieldOf(memory, "maxmemory"));
      this.#count(server, Number(fieldOf(stats, "evicted_keys") ?? 0));
    } catch (error) {
      const { code, advice } = redisFault(error);
      if (code === "NOPERM")
        this.#tell(server, code, "Redis does not report whether it evicts keys", { cause: code, advice });
    }
  }

  close(): void {
    this.#cancel();
  }

  #lookLater(): void {
    this.#cancel = this.#deps.timers.after(LOOK_EVERY_MS, () => {
      this.#looksUntilWarning--;
      const servers = this.#deps.servers();
      if (servers.length > 0) this.#forgetOthers(servers);
      for (const redis of servers) void this.look(redis);
      this.#lookLater();
    });
  }

  #judge(server: string, policy: string | undefined, maxmemory: string | undefined): void {
    if (policy === undefined || !POLICY.test(policy)) return;
    if (policy === NO_EVICTION) {
      this.#policies.set(server, policy);
      return;
    }
    this.#tell(server, policy, "Redis may evict windows of limits, and each of them then admits its limit once more", {
      policy,
      maxmemory: Number(maxmemory ?? 0),
      advice: "set maxmemory-policy to noeviction, or give the limits a Redis of their own",
    });
  }

  #tell(server: string, policy: string, message: WarnLine, fields: Readonly<Record<string, string | number>>): void {
    if (this.#policies.get(server) === policy) return;
    this.#policies.set(server, policy);
    this.#deps.log.warn(message, { server, ...fields });
  }

  /** A server that restarted counts from 0 again. */
  #count(server: string, evicted: number): void {
    if (!Number.isSafeInteger(evicted)) return;
    const before = this.#evicted.get(server) ?? evicted;
    this.#evicted.set(server, evicted);
    if (evicted <= before || this.#looksUntilWarning > 0) return;
    this.#looksUntilWarning = LOOKS_PER_WARNING;
    this.#deps.log.warn("Redis has evicted keys: windows of limits may have started again at 0", {
      server,
      evicted: evicted - before,
      advice: "raise maxmemory, set maxmemory-policy to noeviction, or give the limits a Redis of their own",
    });
  }

  /** Forgets all other servers: nodes of a cluster come and go. */
  #forgetOthers(servers: readonly Redis[]): void {
    const names = new Set(servers.map(({ options: { host, port, path } }) => path ?? `${host}:${port}`));
    for (const known of [this.#policies, this.#evicted]) {
      for (const name of known.keys()) if (!names.has(name)) known.delete(name);
    }
  }
}

/** A field of INFO. */
function fieldOf(info: unknown, name: string): string | undefined {
  return typeof info === "string" ? new RegExp(`^${name}:(.*?)\\r?$`, "m").exec(info)?.[1] : undefined;
}
