import { Cluster, Redis, type RedisOptions } from "ioredis";
import { isSlotsReply } from "./cluster-slots.ts";
import { guardedConnector, readTlsFiles, type TlsFiles } from "./guarded-connector.ts";
import type { ReplyBounds } from "./reply-guard.ts";

export type RedisTarget = RedisServerTarget | RedisClusterTarget;

/** How to get in. */
interface Access {
  readonly tls: boolean;
  readonly tlsFiles: TlsFiles;
  readonly username: string | undefined;
  readonly password: string | undefined;
}

export interface RedisServerTarget extends Access {
  readonly kind: "single";
  readonly at: { readonly host: string; readonly port: number } | { readonly socket: string };
  readonly database: number;
}

export interface RedisClusterTarget extends Access {
  readonly kind: "cluster";
  readonly nodes: readonly { readonly host: string; readonly port: number }[];
}

const CONNECT_TIMEOUT_MS = 1_000;
const REFRESH_SLOTS_EVERY_MS = 1_000;
const MAX_REDIRECTIONS = 3;

/** The largest replies: a section of INFO (some KiB); 128 calls with 9 limits each (19 KiB); HELLO with its modules. */
const SERVER_BOUNDS: ReplyBounds = { bytes: 65_536, entries: 1_024 };
/** CLUSTER SLOTS: about 100 bytes and 10 entries for each range of slots and each of its nodes. */
const CLUSTER_BOUNDS: ReplyBounds = { bytes: 2_097_152, entries: 131_072 };

/** One server. `retryAfterMs` says when to connect again. */
export function openSingle(target: RedisServerTarget, retryAfterMs: () => number): Redis {
  const place = "socket" in target.at ? { path: target.at.socket } : target.at;
  return new Redis({
    ...optionsOf(target, SERVER_BOUNDS),
    ...place,
    db: target.database,
    enableOfflineQueue: false,
    retryStrategy: retryAfterMs,
  });
}

/** A cluster, found by some of its nodes. */
export function openCluster(target: RedisClusterTarget, retryAfterMs: () => number): Cluster {
  const cluster = new Cluster([...target.nodes], {
    redisOptions: optionsOf(target, CLUSTER_BOUNDS),
    // A certificate is for a name: what ioredis would look up first and then connect to has none.
    ...(target.tls && { dnsLookup: (address, callback) => callback(null, address) }),
    enableOfflineQueue: false,
    clusterRetryStrategy: retryAfterMs,
    slotsRefreshInterval: REFRESH_SLOTS_EVERY_MS,
    maxRedirections: MAX_REDIRECTIONS,
    retryDelayOnFailover: 0,
    retryDelayOnClusterDown: 0,
    retryDelayOnTryAgain: 0,
  });
  cluster.on("+node", (node: Redis) => {
    checkSlotsOf(node);
    // ioredis connects to a node when the first command goes there, and refuses those that follow until it is connected.
    setImmediate(() => {
      if (node.status === "wait" && !node.options.readOnly) node.connect().catch(() => {});
    });
  });
  return cluster;
}

/**
 * Nothing here waits or tries again: a command that can't be sent now, or whose connection is lost, fails at once, and
 * the limiter knows what to do then. There is no `commandTimeout` either: ioredis' timers fire before a late answer is
 * read, so that each stall of this process would look like an outage. The limiter keeps the time.
 */
function optionsOf({ tls, tlsFiles, username, password }: Access, bounds: ReplyBounds): RedisOptions {
  // A file that is missing now stops the start.
  if (tls) readTlsFiles(tlsFiles);
  return {
    Connector: guardedConnector({ tls: tls ? tlsFiles : undefined, bounds }),
    // Only tells the client to wait for the end of the handshake; the connector makes the connection.
    ...(tls && { tls: {} }),
    ...(username !== undefined && { username }),
    ...(password !== undefined && { password }),
    // RESP3 adds nothing that is used here, and replies that nothing asked for.
    protocol: 2,
    connectTimeout: CONNECT_TIMEOUT_MS,
    keepAlive: 5_000,
    maxRetriesPerRequest: 0,
    autoResendUnfulfilledCommands: false,
    // Both would send commands that an ACL user then needs, and write warnings to standard error.
    enableReadyCheck: false,
    disableClientInfo: true,
    // A primary that was demoted: behind its name there may be another one by now.
    reconnectOnError: (error) => error.message.startsWith("READONLY"),
  };
}

/** The client asks a copy of a node's connection for the cluster's slots, and goes through any answer. */
function checkSlotsOf(node: Redis): void {
  const duplicate = node.duplicate.bind(node);
  node.duplicate = ((...args: Parameters<typeof duplicate>) => {
    const copy = duplicate(...args);
    const cluster = copy.cluster.bind(copy) as (subcommand: string) => Promise<unknown>;
    const checked = (subcommand: string, done: (error: unknown, reply?: unknown) => void) =>
      cluster(subcommand).then(
        (reply) => (isSlotsReply(reply) ? done(null, reply) : done(new Error("no reply of CLUSTER SLOTS"))),
        (error) => done(error),
      );
    return Object.assign(copy, { cluster: checked });
  }) as typeof node.duplicate;
}
