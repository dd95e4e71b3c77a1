import { Cluster, Redis, type RedisOptions } from "ioredis";
import { isSlotsReply } from "./cluster-slots.ts";
import { guardedConnector, readTlsFiles, type TlsFiles } from "./guarded-connector.ts";
import type { ReplyBounds } from "./reply-guard.ts";

export type RedisTarget = RedisServerTarget | RedisClusterTarget;

/** How to get access to a server. */
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

/**
 * Bounds of a server's replies. The largest are a section of INFO (some KiB), 128 calls with 9 limits each (19 KiB),
 * and HELLO with its modules.
 */
const SERVER_BOUNDS: ReplyBounds = { bytes: 65_536, entries: 1_024 };
/**
 * Bounds of a cluster's replies. CLUSTER SLOTS has about 100 bytes and 10 entries for each range of slots and each of
 * its nodes.
 */
const CLUSTER_BOUNDS: ReplyBounds = { bytes: 2_097_152, entries: 131_072 };

/** Opens one server. `retryAfterMs` returns the delay before the next connection attempt. */
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

/** Opens a cluster by the nodes that the configuration names; the client finds the others. */
export function openCluster(target: RedisClusterTarget, retryAfterMs: () => number): Cluster {
  const cluster = new Cluster([...target.nodes], {
    redisOptions: optionsOf(target, CLUSTER_BOUNDS),
    // Passes the name on unresolved: ioredis would connect to an address, but a certificate is for a name.
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
    // ioredis connects to a node only when it sends the first command there, and refuses further commands until then.
    setImmediate(() => {
      if (node.status === "wait" && !node.options.readOnly) node.connect().catch(() => {});
    });
  });
  return cluster;
}

/**
 * The options of every connection. The client must neither wait nor retry. A command that can't be sent now, or whose
 * connection is lost, fails immediately. The limiter decides what follows. There is no `commandTimeout`, because
 * ioredis' timers fire before a late answer is read: each stall of this process would look like an outage. The limiter
 * has its own timeout.
 */
function optionsOf({ tls, tlsFiles, username, password }: Access, bounds: ReplyBounds): RedisOptions {
  // A file that is missing now fails the start.
  if (tls) readTlsFiles(tlsFiles);
  return {
    Connector: guardedConnector({ tls: tls ? tlsFiles : undefined, bounds }),
    // Only makes the client wait for the TLS handshake; the connector makes the connection.
    ...(tls && { tls: {} }),
    ...(username !== undefined && { username }),
    ...(password !== undefined && { password }),
    // RESP3 has no use here, and allows replies that no command asked for.
    protocol: 2,
    connectTimeout: CONNECT_TIMEOUT_MS,
    keepAlive: 5_000,
    maxRetriesPerRequest: 0,
    autoResendUnfulfilledCommands: false,
    // Without these two, the client sends commands that the ACL of the user must allow, and writes warnings to standard
    // error.
    enableReadyCheck: false,
    disableClientInfo: true,
    // Reconnects to a primary that was demoted, because its name may lead to another server by now.
    reconnectOnError: (error) => error.message.startsWith("READONLY"),
  };
}

/**
 * Checks a reply to CLUSTER SLOTS before the client uses it. The client asks on a duplicate of a node's connection, and
 * does not check the reply itself.
 */
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
