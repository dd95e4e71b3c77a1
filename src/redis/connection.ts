/**
 * BACK DOOR to Redis, which stores only windows of limits: everything else in this service works without it. Redis
 * knows a subject only by a digest. A Redis that lies can make limits looser or tighter, and nothing more.
 *
 *   connection.ts         one server or one cluster; always tries to be connected
 *   redis-client.ts       opens the client library with the options that this room needs
 *   guarded-connector.ts  makes each connection: TLS, and a guard in front of the client's parser
 *   reply-guard.ts        decides when a reply ends the connection before it is parsed
 *   server-check.ts       checks that a server is what REDIS_URL names
 *   cluster-slots.ts      checks a cluster's answer about its slots
 *   evictions.ts          notices that Redis evicts windows
 *   redis-fault.ts        names every error, and says what to do
 *   limit-store.ts        the windows in Redis
 *   limit.lua             their arithmetic, run inside Redis
 *   slot.ts               the cluster slot of a hash tag
 */
import { Cluster, type Redis } from "ioredis";
import { systemClock, systemTimers } from "../lib/clock.ts";
import { Histogram, SECONDS } from "../lib/histogram.ts";
import type { Log } from "../lib/log.ts";
import { type SpanFacts, traced } from "../lib/tracing.ts";
import { Evictions } from "./evictions.ts";
import { openCluster, openSingle, type RedisTarget } from "./redis-client.ts";
import { faultNamed, type RedisFault, redisFault, unsent } from "./redis-fault.ts";
import { serverFault } from "./server-check.ts";

export type { RedisTarget } from "./redis-client.ts";

const RECONNECT_EVERY_MS = 100;
/** Delay after a fault that the next attempt will meet again, such as a wrong password or a node of a cluster. */
const RECONNECT_REFUSED_EVERY_MS = 1_000;
/** Maximum faults remembered as logged; a cluster may have several for each node. */
const MAX_TOLD = 1_000;

/**
 * A connection to one Redis server or to a cluster. It never stops trying to connect. A fault makes commands fail, and
 * is logged once in an outage.
 */
export class RedisConnection {
  readonly client: Redis | Cluster;
  readonly #log: Log;
  readonly #evictions: Evictions;
  readonly #database: number;
  /** For a single server: the socket on which the server passed the check of server-check.ts. */
  #accepted: unknown;
  /** The last reason why the server was refused or there is no connection. */
  #fault: RedisFault | undefined;
  /** Faults already logged in this outage. */
  readonly #told = new Set<string>();
  #onSettled: () => void = () => {};
  /** Times from a command to its reply, in seconds; of failed commands too. */
  readonly commandSeconds = new Histogram(SECONDS);
  /** Number of commands since the start that failed or could not be sent. */
  failures = 0;

  /**
   * Begins to connect.
   *
   * @throws Error if a PEM file can't be read
   */
  constructor(target: RedisTarget, log: Log) {
    this.#log = log;
    this.#database = target.kind === "single" ? target.database : 0;
    const retryAfterMs = () => (this.#isRefused() ? RECONNECT_REFUSED_EVERY_MS : RECONNECT_EVERY_MS);
    this.client = target.kind === "single" ? openSingle(target, retryAfterMs) : openCluster(target, retryAfterMs);
    this.#evictions = new Evictions({
      log,
      timers: systemTimers,
      servers: () => this.#servers().filter(({ status }) => status === "ready"),
    });
    this.client.on("error", (error) => this.#refuse(redisFault(error)));
    if (this.client instanceof Cluster) this.#followNodes(this.client);
    else this.#followServer(this.client);
  }

  get isCluster(): boolean {
    return this.client instanceof Cluster;
  }

  /** Number of keys that Redis has evicted since its start, by its own count. */
  get evictedKeys(): number {
    return this.#evictions.evicted;
  }

  /**
   * Waits at most `timeoutMs` until commands can be sent to every server. @returns whether they can
   *
   * @throws RedisFault if Redis answers but is not what the configuration names
   */
  async ready(timeoutMs: number): Promise<boolean> {
    const { promise, resolve, reject } = Promise.withResolvers<boolean>();
    const timer = setTimeout(() => resolve(false), timeoutMs);
    const settle = () => {
      if (this.#fault?.isMisconfigured) reject(this.#fault);
      else if (this.#isReady()) resolve(true);
    };
    this.#onSettled = settle;
    settle();
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
      this.#onSettled = () => {};
    }
  }

  /**
   * Sends a command and resolves with its reply, texts as bytes. It is a span of the call that it is for.
   *
   * @throws RedisFault
   */
  async call(command: string, args: readonly (string | number)[]): Promise<unknown> {
    const sentAtMs = systemClock.monotonicMs();
    try {
      return await traced(commandSpan, command, () => this.#send(command, args));
    } catch (error) {
      this.failures++;
      throw error;
    } finally {
      this.commandSeconds.observeMs(systemClock.monotonicMs() - sentAtMs);
    }
  }

  async #send(command: string, args: readonly (string | number)[]): Promise<unknown> {
    const { client } = this;
    if (!(client instanceof Cluster) && client.stream !== this.#accepted) {
      throw unsent(this.#fault ?? faultNamed("NOT_CONNECTED"));
    }
    try {
      return await client.callBuffer(command, [...args]);
    } catch (error) {
      throw redisFault(error);
    }
  }

  /** The address of the node that serves a slot, as far as it is known; "" without a cluster. */
  nodeOf(slot: number): string {
    return this.client instanceof Cluster ? (this.client.slots[slot]?.[0] ?? "") : "";
  }

  /**
   * Drops the socket to a node, which may be dead, and connects again. "" means all sockets, as `nodeOf` returns
   * without a cluster.
   */
  renew(node: string): void {
    for (const one of this.#servers()) {
      if (node === "" || node === `${one.options.host}:${one.options.port}`) one.stream?.destroy();
    }
  }

  /** Closes the connection; commands under way fail. */
  close(): void {
    this.#evictions.close();
    this.client.disconnect();
    for (const one of this.#servers()) one.stream?.destroy();
  }

  #followServer(redis: Redis): void {
    redis.on("ready", () => void this.#check(redis, redis.stream));
  }

  async #check(redis: Redis, stream: Redis["stream"]): Promise<void> {
    const fault = await serverFault(redis, this.#database);
    // If there is another socket by now, that one is checked separately.
    if (redis.stream !== stream || redis.status !== "ready") return;
    if (fault === undefined) {
      this.#accepted = stream;
      this.#noteReady("");
      await this.#evictions.look(redis);
      return;
    }
    this.#refuse(fault);
    stream.destroy();
  }

  #followNodes(cluster: Cluster): void {
    cluster.on("ready", () => this.#noteReady(""));
    cluster.on("node error", (error: Error, node: string) => this.#tell(redisFault(error), node));
    cluster.on("+node", (node: Redis) => {
      node.on("ready", () => {
        this.#noteReady(`${node.options.host}:${node.options.port}`);
        if (!node.options.readOnly) void this.#evictions.look(node);
      });
    });
  }

  #servers(): readonly Redis[] {
    return this.client instanceof Cluster ? this.client.nodes("master") : [this.client];
  }

  #isReady(): boolean {
    if (!(this.client instanceof Cluster))
      return this.client.stream !== undefined && this.client.stream === this.#accepted;
    return this.client.status === "ready" && this.#servers().every(({ status }) => status === "ready");
  }

  #isRefused(): boolean {
    return this.#fault !== undefined && (this.#fault.isMisconfigured || REFUSALS.has(this.#fault.code));
  }

  #refuse(fault: RedisFault): void {
    this.#fault = fault;
    this.#tell(fault, "");
    this.#onSettled();
  }

  /** Logs each fault once in an outage. */
  #tell(fault: RedisFault, node: string): void {
    const key = `${node} ${fault.code}`;
    if (this.#told.has(key) || this.#told.size >= MAX_TOLD) return;
    this.#told.add(key);
    const message = fault.isMisconfigured ? "Redis is not what the configuration names" : "Redis is unreachable";
    this.#log.warn(message, { node: node || undefined, cause: fault.code, advice: fault.advice });
  }

  #noteReady(node: string): void {
    if (node === "") this.#fault = undefined;
    const told = [...this.#told].filter((key) => key.startsWith(`${node} `));
    for (const key of told) this.#told.delete(key);
    if (told.length > 0) this.#log.info("Redis is reachable again", { node: node || undefined });
    this.#onSettled();
  }
}

/** The facts of a command's span. Its keys have digests of subjects, and are left out. */
function commandSpan(command: string): SpanFacts {
  const name = command.toUpperCase();
  return { name, attributes: { "db.system.name": "redis", "db.operation.name": name } };
}

const REFUSALS = new Set(["NOAUTH", "WRONGPASS", "NOPERM", "CLUSTER_NODE"]);
