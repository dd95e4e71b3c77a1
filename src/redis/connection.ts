/**
 * BACK DOOR to Redis, which keeps nothing but windows: everything else here works without it. What is known of a subject
 * in Redis is a digest; a Redis that lies can make limits looser or tighter, and nothing more.
 *
 *   connection.ts         one server or one cluster, always trying to be connected
 *   redis-client.ts       the client library as this room uses it, and what it must not do by itself
 *   guarded-connector.ts  how each connection is made: TLS, and a guard in front of the client's parser
 *   reply-guard.ts        when a reply ends the connection before it is parsed
 *   server-check.ts       whether a server is what REDIS_URL names
 *   cluster-slots.ts      whether a cluster's map of its slots is one
 *   evictions.ts          whether Redis throws windows away
 *   redis-fault.ts        every error as what it is, with what to do
 *   limit-store.ts        the windows
 *   limit.lua             their arithmetic, run inside Redis
 *   slot.ts               which slot of a cluster a hash tag is in
 */
import { Cluster, type Redis } from "ioredis";
import { systemTimers } from "../lib/clock.ts";
import type { Log } from "../lib/log.ts";
import { Evictions } from "./evictions.ts";
import { openCluster, openSingle, type RedisTarget } from "./redis-client.ts";
import { faultNamed, type RedisFault, redisFault, unsent } from "./redis-fault.ts";
import { serverFault } from "./server-check.ts";

export type { RedisTarget } from "./redis-client.ts";

const RECONNECT_EVERY_MS = 100;
/** Where the next attempt will find the same: a wrong password, a node of a cluster. */
const RECONNECT_REFUSED_EVERY_MS = 1_000;
/** Of faults that were told and are not over; a cluster has a node and a word for each. */
const MAX_TOLD = 1_000;

/** A connection to one Redis or to a cluster. It is never given up, and its faults show only in the commands sent. */
export class RedisConnection {
  readonly client: Redis | Cluster;
  readonly #log: Log;
  readonly #evictions: Evictions;
  readonly #database: number;
  /** Of a single server: the socket on which it was found to be what the configuration names. */
  #accepted: unknown;
  /** Why it is not, or why there is no connection, as last seen. */
  #fault: RedisFault | undefined;
  /** Faults told of the present outage. */
  readonly #told = new Set<string>();
  #onSettled: () => void = () => {};

  /**
   * Begins to connect.
   *
   * @throws Error where a PEM file can't be read
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

  /** Keys that Redis has evicted since its start, by its own count. */
  get evictedKeys(): number {
    return this.#evictions.evicted;
  }

  /**
   * Waits until commands can be sent to every server, at most `timeoutMs`. True if they can.
   *
   * @throws RedisFault where Redis is there and is not what the configuration names
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
   * Sends a command and resolves with its reply, texts as bytes.
   *
   * @throws RedisFault
   */
  async call(command: string, args: readonly (string | number)[]): Promise<unknown> {
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

  /** Address of the node that serves a slot as far as is known; "" without a cluster. */
  nodeOf(slot: number): string {
    return this.client instanceof Cluster ? (this.client.slots[slot]?.[0] ?? "") : "";
  }

  /** Drops the socket to a node, or to all ("" as nodeOf has it), and connects again: for one that may be dead. */
  renew(node: string): void {
    for (const one of this.#servers()) {
      if (node === "" || node === `${one.options.host}:${one.options.port}`) one.stream?.destroy();
    }
  }

  /** Ends the connection; commands under way fail. */
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
    // Where it is another one by now, that one is checked by itself.
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

  /** Each fault is one line an outage, however often it is met. */
  #tell(fault: RedisFault, node: string): void {
    const key = `${node} ${fault.code}`;
    if (this.#told.has(key) || this.#told.size >= MAX_TOLD) return;
    this.#told.add(key);
    const message = fault.isMisconfigured ? "Redis is not what the configuration names" : "no connection to Redis";
    this.#log.warn(message, { node: node || undefined, cause: fault.code, advice: fault.advice });
  }

  #noteReady(node: string): void {
    if (node === "") this.#fault = undefined;
    const told = [...this.#told].filter((key) => key.startsWith(`${node} `));
    for (const key of told) this.#told.delete(key);
    if (told.length > 0) this.#log.info("connected to Redis again", { node: node || undefined });
    this.#onSettled();
  }
}

const REFUSALS = new Set(["NOAUTH", "WRONGPASS", "NOPERM", "CLUSTER_NODE"]);
