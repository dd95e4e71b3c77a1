import { LimitStoreError } from "../limits/limit-store.ts";

interface Fault {
  readonly code: string;
  /** Matches the error's message. Without it, the code or the first word of Redis' answer must be `code`. */
  readonly message?: RegExp;
  readonly advice: string;
  /** True if Redis reports the fault before it runs anything, or if nothing was sent. */
  readonly countedNothing: boolean;
  /** Waiting will not help: the configuration names another kind of place. */
  readonly isMisconfigured?: boolean;
}

const COUNTED_NOTHING = { countedNothing: true } as const;
const MAY_HAVE_COUNTED = { countedNothing: false } as const;
const MISCONFIGURED = { countedNothing: true, isMisconfigured: true } as const;
const ACL = "docs/CONFIG.md lists the commands and keys that its user needs";
const CERTIFICATE = "Redis' certificate is not trusted; set LATCHKEY_REDIS_CA_FILE to the authority that issued it";
const NO_TLS = "the other end has no TLS; name the TLS port of Redis, or write redis:// instead of rediss://";

/** Every known fault of Redis, with what to do about it. The first that matches counts. */
const FAULTS: readonly Fault[] = [
  {
    code: "CLUSTER_NODE",
    advice: "REDIS_URL points at a node of a Redis Cluster; set REDIS_CLUSTER_NODES to its nodes instead",
    ...MISCONFIGURED,
  },
  {
    code: "NO_CLUSTER",
    message: /^ERR This instance has cluster support disabled/,
    advice: "REDIS_CLUSTER_NODES points at a Redis that is no cluster; set REDIS_URL instead",
    ...MISCONFIGURED,
  },
  {
    code: "NO_DATABASE",
    message: /^ERR (DB index is out of range|invalid DB index|SELECT is not allowed)/,
    advice: "Redis has no database of the number that REDIS_URL names; name another one, or raise `databases` in Redis",
    ...MISCONFIGURED,
  },
  {
    code: "SENTINEL",
    advice: "REDIS_URL points at a Redis Sentinel; name the primary that it watches",
    ...MISCONFIGURED,
  },
  {
    code: "READONLY",
    advice: "Redis is a read-only replica; name the primary, or wait for the failover",
    ...COUNTED_NOTHING,
  },
  { code: "LOADING", advice: "Redis loads its data from disk; this ends by itself", ...COUNTED_NOTHING },
  {
    code: "OOM",
    advice: "Redis is at its maxmemory; raise it or remove what else is in it, and keep maxmemory-policy noeviction",
    ...COUNTED_NOTHING,
  },
  {
    code: "MISCONF",
    advice: "Redis accepts no writes because it can't save to its disk; repair the disk, or switch saving off",
    ...COUNTED_NOTHING,
  },
  {
    code: "NOREPLICAS",
    advice: "Redis accepts no writes because it has too few replicas (min-replicas-to-write)",
    ...COUNTED_NOTHING,
  },
  { code: "MASTERDOWN", advice: "Redis is a replica without its primary; name the primary", ...COUNTED_NOTHING },
  {
    code: "NOAUTH",
    advice: "Redis requires a password; write it into REDIS_URL or REDIS_CLUSTER_NODES",
    ...COUNTED_NOTHING,
  },
  {
    code: "WRONGPASS",
    message: /^(WRONGPASS|ERR invalid password|ERR AUTH <password> called without)/,
    advice: "Redis refuses this user and password; correct them in REDIS_URL or REDIS_CLUSTER_NODES and restart",
    ...COUNTED_NOTHING,
  },
  // A command inside the script may be forbidden.
  {
    code: "NOPERM",
    message: /^ERR The user executing the script/,
    advice: `Redis forbids a command or key to this user; ${ACL}`,
    ...MAY_HAVE_COUNTED,
  },
  {
    code: "DENIED",
    advice: "Redis is in protected mode; give it a password or bind it to loopback",
    ...COUNTED_NOTHING,
  },
  {
    code: "MAXCLIENTS",
    message: /^ERR max number of clients/,
    advice: "Redis accepts no more connections (maxclients)",
    ...COUNTED_NOTHING,
  },
  { code: "MOVED", advice: "the cluster's slots move faster than they can be followed", ...COUNTED_NOTHING },
  { code: "ASK", advice: "the cluster's slots move faster than they can be followed", ...COUNTED_NOTHING },
  {
    code: "TRYAGAIN",
    advice: "a slot of the cluster moves to another node; this ends by itself",
    ...COUNTED_NOTHING,
  },
  { code: "CROSSSLOT", advice: "a bug: keys of several slots in one command", ...COUNTED_NOTHING },
  {
    code: "CLUSTERDOWN",
    advice: "the cluster has slots that no node serves; look at CLUSTER INFO",
    ...COUNTED_NOTHING,
  },
  {
    code: "NO_COMMAND",
    message: /^ERR unknown command/i,
    advice: `Redis, or a proxy in front of it, lacks a command; ${ACL}`,
    ...COUNTED_NOTHING,
  },
  { code: "NOSCRIPT", advice: "Redis forgets scripts immediately", ...COUNTED_NOTHING },
  {
    code: "BUSY",
    advice: "another client's script in Redis does not end; stop it with SCRIPT KILL",
    ...COUNTED_NOTHING,
  },
  { code: "WRONGTYPE", advice: "other data is under the limiter's keys; delete latchkey:limit:*", ...MAY_HAVE_COUNTED },
  {
    code: "REPLY_TOO_LARGE",
    advice: "Redis sent a larger reply than any command asks for; is this a Redis?",
    ...MAY_HAVE_COUNTED,
  },
  {
    code: "REPLY_UNASKED",
    advice: "Redis sent a reply that no command asked for; is this a Redis?",
    ...MAY_HAVE_COUNTED,
  },
  {
    code: "REPLY_NO_REDIS",
    advice: "the server does not use Redis' protocol; check host and port, and write rediss:// for a TLS port",
    ...MAY_HAVE_COUNTED,
  },
  {
    code: "REPLY_NO_DECISION",
    advice: "Redis' reply is no answer of limit.lua; is this a Redis?",
    ...MAY_HAVE_COUNTED,
  },
  {
    code: "NOT_CONNECTED",
    message: /^(Stream isn't writeable|Cluster isn't ready)/,
    advice: "see the line about the connection to Redis",
    ...COUNTED_NOTHING,
  },
  {
    code: "CONNECTION_LOST",
    message:
      /^(Connection is closed|Reached the max retries|Command aborted due to connection close|None of startup nodes)/,
    advice: "see the line about the connection to Redis",
    ...MAY_HAVE_COUNTED,
  },
  {
    code: "ECONNREFUSED",
    advice: "no server listens there; start Redis, or correct host and port",
    ...COUNTED_NOTHING,
  },
  {
    code: "ECONNRESET",
    advice: "the other end closed the connection; for a TLS port write rediss://",
    ...MAY_HAVE_COUNTED,
  },
  { code: "EPIPE", advice: "the other end closed the connection", ...MAY_HAVE_COUNTED },
  { code: "ENOTFOUND", advice: "DNS knows no such host; correct it", ...COUNTED_NOTHING },
  { code: "EAI_AGAIN", advice: "DNS does not answer", ...COUNTED_NOTHING },
  {
    code: "ETIMEDOUT",
    advice:
      "no answer within 1 s; look at the network and firewalls, and write redis:// instead of rediss:// for a port without TLS",
    ...MAY_HAVE_COUNTED,
  },
  { code: "EHOSTUNREACH", advice: "no route to the host; look at the network", ...COUNTED_NOTHING },
  { code: "ENETUNREACH", advice: "no route to the network; look at the network", ...COUNTED_NOTHING },
  {
    code: "ENOENT",
    advice: "no such file: the socket of REDIS_URL, or one of LATCHKEY_REDIS_*_FILE",
    ...COUNTED_NOTHING,
  },
  {
    code: "EACCES",
    advice: "this user may not open the socket of REDIS_URL, or one of LATCHKEY_REDIS_*_FILE",
    ...COUNTED_NOTHING,
  },
  {
    code: "CERT_NAME",
    message: /^Hostname\/IP does not match certificate's altnames/,
    advice: "Redis' certificate is for another name; use the host name that is in the certificate",
    ...COUNTED_NOTHING,
  },
  { code: "CERT_HAS_EXPIRED", advice: "Redis' certificate has expired; replace it", ...COUNTED_NOTHING },
  { code: "DEPTH_ZERO_SELF_SIGNED_CERT", advice: CERTIFICATE, ...COUNTED_NOTHING },
  { code: "SELF_SIGNED_CERT_IN_CHAIN", advice: CERTIFICATE, ...COUNTED_NOTHING },
  { code: "UNABLE_TO_VERIFY_LEAF_SIGNATURE", advice: CERTIFICATE, ...COUNTED_NOTHING },
  { code: "UNABLE_TO_GET_ISSUER_CERT_LOCALLY", advice: CERTIFICATE, ...COUNTED_NOTHING },
  { code: "ERR_SSL_WRONG_VERSION_NUMBER", advice: NO_TLS, ...COUNTED_NOTHING },
  { code: "ERR_SSL_PACKET_LENGTH_TOO_LONG", advice: NO_TLS, ...COUNTED_NOTHING },
  {
    code: "CLIENT_CERT_REQUIRED",
    message: /certificate required|handshake failure|bad certificate|unknown ca/i,
    advice:
      "Redis requires a client certificate that it trusts; set LATCHKEY_REDIS_CERT_FILE and LATCHKEY_REDIS_KEY_FILE",
    ...MAY_HAVE_COUNTED,
  },
];
const UNKNOWN: Fault = {
  code: "UNKNOWN",
  advice: "an unknown error; look at Redis' own log",
  ...MAY_HAVE_COUNTED,
};

/**
 * An error of Redis, its client or the network, with its name and advice. Its message never contains text that Redis
 * sent.
 */
export class RedisFault extends LimitStoreError {
  /** Waiting will not help: the configuration names another kind of place. */
  readonly isMisconfigured: boolean;

  constructor({ code, advice, countedNothing, isMisconfigured = false }: Fault, cause?: unknown) {
    super(code, advice, { countedNothing, cause });
    this.isMisconfigured = isMisconfigured;
  }
}

/** The fault with this code. */
export function faultNamed(code: string): RedisFault {
  return new RedisFault(FAULTS.find((fault) => fault.code === code) ?? UNKNOWN);
}

/** The same fault for a command that was not sent. */
export function unsent({ code, advice, isMisconfigured }: RedisFault): RedisFault {
  return new RedisFault({ code, advice, isMisconfigured, countedNothing: true });
}

export function redisFault(error: unknown): RedisFault {
  if (error instanceof RedisFault) return error;
  // A cluster's client fails with the last node's error inside if no node could run the command.
  const inner = (error as { lastNodeError?: unknown } | undefined)?.lastNodeError;
  if (inner !== undefined && inner !== null) return redisFault(inner);
  return new RedisFault(FAULTS.find((fault) => isOf(fault, error)) ?? UNKNOWN, error);
}

function isOf({ code, message }: Fault, error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  if (message?.test(error.message)) return true;
  return (error as NodeJS.ErrnoException).code === code || error.message.startsWith(`${code} `);
}
