/**
 * BACK DOOR to Redis, which keeps nothing but windows: everything else here works without it. What is known of a subject
 * in Redis is a digest; a Redis that lies can make limits looser or tighter, and nothing more.
 *
 *   connection.ts   one server or one cluster, always trying to be connected
 *   limit-store.ts  the windows
 *   limit.lua       their arithmetic, run inside Redis
 *   slot.ts         which slot of a cluster a hash tag is in
 */
import { Cluster, Redis, type RedisOptions } from "ioredis";
import type { Log } from "../lib/log.ts";

export type RedisTarget = { readonly kind: "single"; readonly url: string } | RedisClusterTarget;

export interface RedisClusterTarget {
  readonly kind: "cluster";
  readonly nodes: readonly { readonly host: string; readonly port: number }[];
  /** These three hold for every node of the cluster, named here or not. */
  readonly tls?: boolean;
  readonly username?: string | undefined;
  readonly password?: string | undefined;
}

const RECONNECT_EVERY_MS = 100;
const CONNECT_TIMEOUT_MS = 1_000;
const REFRESH_SLOTS_EVERY_MS = 1_000;
const MAX_REDIRECTIONS = 3;

/**
 * Nothing here waits or tries again: a command that can't be sent now, or whose connection is lost, fails at once, and
 * the limiter knows what to do then. There is no `commandTimeout` either: ioredis' timers fire before a late answer is
 * read, so that each stall of this process would look like an outage; whoever asks keeps the time.
 */
const OPTIONS: RedisOptions = {
  connectTimeout: CONNECT_TIMEOUT_MS,
  keepAlive: 5_000,
  maxRetriesPerRequest: 0,
  autoResendUnfulfilledCommands: false,
  // A primary that was demoted: behind its name there may be another one by now.
  reconnectOnError: (error) => error.message.startsWith("READONLY"),
};

/** A connection to one Redis or to a cluster. It is never given up, and its faults show only in the commands sent. */
export class RedisConnection {
  readonly client: Redis | Cluster;

  /** Begins to connect. */
  constructor(target: RedisTarget, log: Log) {
    this.client = target.kind === "single" ? openSingle(target.url) : openCluster(target);
    logOutages(this.client, log);
  }

  get isCluster(): boolean {
    return this.client instanceof Cluster;
  }

  /** Waits until commands can be sent everywhere, at most so long. True if they can. */
  async ready(timeoutMs: number): Promise<boolean> {
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const timer = setTimeout(() => resolve(false), timeoutMs);
    const allReady = async () => {
      await becomesReady(this.client);
      await Promise.all(this.#servers().map(becomesReady));
      resolve(true);
    };
    void allReady();
    const isReady = await promise;
    clearTimeout(timer);
    return isReady;
  }

  /** Address of the node that serves a slot as far as is known; "" without a cluster. */
  nodeOf(slot: number): string {
    return this.client instanceof Cluster ? (this.client.slots[slot]?.[0] ?? "") : "";
  }

  /** Drops the socket to a node, or to all ("" as nodeOf has it), and connects anew: for one that may be dead. */
  renew(node: string): void {
    for (const one of this.#servers()) {
      if (node === "" || node === `${one.options.host}:${one.options.port}`) one.stream?.destroy();
    }
  }

  /** Ends the connection; commands under way fail. */
  close(): void {
    this.client.disconnect();
    for (const one of this.#servers()) one.stream?.destroy();
  }

  #servers(): readonly Redis[] {
    return this.client instanceof Cluster ? this.client.nodes("master") : [this.client];
  }
}

function openSingle(url: string): Redis {
  return new Redis(url, { ...OPTIONS, enableOfflineQueue: false, retryStrategy: () => RECONNECT_EVERY_MS });
}

function openCluster({ nodes, tls, username, password }: RedisClusterTarget): Cluster {
  const cluster = new Cluster([...nodes], {
    redisOptions: { ...OPTIONS, username, password, ...(tls && { tls: {} }) },
    // A certificate is for a name: what ioredis would look up first and then connect to has none.
    ...(tls && { dnsLookup: (address, callback) => callback(null, address) }),
    enableOfflineQueue: false,
    clusterRetryStrategy: () => RECONNECT_EVERY_MS,
    slotsRefreshInterval: REFRESH_SLOTS_EVERY_MS,
    maxRedirections: MAX_REDIRECTIONS,
    retryDelayOnFailover: 0,
    retryDelayOnClusterDown: 0,
    retryDelayOnTryAgain: 0,
  });
  // ioredis connects to a node when the first command goes there, and refuses those that follow until it is connected.
  cluster.on("+node", (node: Redis) => {
    setImmediate(() => {
      if (node.status === "wait" && !node.options.readOnly) node.connect().catch(() => {});
    });
  });
  return cluster;
}

async function becomesReady(client: Redis | Cluster): Promise<void> {
  if (client.status !== "ready") await new Promise<void>((resolve) => client.once("ready", () => resolve()));
}

/** One line when the connection is lost or can't be made, one when it is there again. */
function logOutages(client: Redis | Cluster, log: Log): void {
  let isLost = false;
  client.on("error", (error: NodeJS.ErrnoException) => {
    if (!isLost) log.warn("no connection to Redis", { cause: error.code ?? error.name });
    isLost = true;
  });
  client.on("ready", () => {
    if (isLost) log.info("connected to Redis again");
    isLost = false;
  });
}
