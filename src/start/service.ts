/**
 * START. From a configuration to a service that runs. This file connects rooms and doors, and is the only one that may
 * import any of them. Read from top to bottom, it is the order of the start; `stop` undoes it from bottom to top.
 *
 *   service.ts            starts the service, and stops it
 *   check-addresses.ts    whether the service can listen on its addresses, before anything else is done
 *   data-folder.ts        the folder of a service without its own database or master keys
 *   master-keys.ts        the master keys, as configured or as made by the first start
 *   prepared-database.ts  the database, once its schema and its contents fit the configuration
 *   first-operator.ts     the first credential with which an operator can act
 *   start-limiter.ts      the limiter, over Redis or in this process
 *   change-sources.ts     how this process learns of changes
 *   audit-export.ts       the export of the audit trail
 *   rooms.ts              the business rooms, each with what it uses
 *   expiring-rows.ts      which rows expire, and what deletes them
 *   bindings.ts           which handlers serve which RPC
 *   metric-sources.ts     where each metric is read from
 *   ops-port.ts           the second port, for health and metrics, also of several processes
 *   version.ts            the service's version
 *   workers.ts            several processes that share one port
 *   signals.ts            SIGTERM, SIGINT and SIGHUP
 */

import { type Change, ChangeBus } from "../changes/change.ts";
import { Watches } from "../changes/watch-changes.ts";
import type { Config } from "../config/config.ts";
import { openRateLimitFile, type RateLimitFile } from "../envoy/rate-limit-file.ts";
import { VerdictCounts } from "../keys/verdict-counts.ts";
import { type AgeClock, systemTimers } from "../lib/clock.ts";
import { CountedLog } from "../lib/counted-log.ts";
import type { KeyRing } from "../lib/key-ring.ts";
import type { Log } from "../lib/log.ts";
import { startRetention } from "../lib/retention.ts";
import { flushSpans, openServerSpans } from "../lib/tracing.ts";
import type { Limiter } from "../limits/limit.ts";
import { accessRule, checkAccess } from "../rpc/access.ts";
import { CallerResolver } from "../rpc/calls/caller.ts";
import { ChangeRate } from "../rpc/calls/change-rate.ts";
import { ClientCertificates } from "../rpc/calls/client-certificates.ts";
import { ClientAddresses } from "../rpc/calls/client-ip.ts";
import { noteRefusedCall } from "../rpc/calls/refused-calls.ts";
import { isChange } from "../rpc/effects.ts";
import { MAX_SERVICES } from "../rpc/ops/metric-declarations.ts";
import { Metrics } from "../rpc/ops/metrics.ts";
import { RpcServer } from "../rpc/server.ts";
import { HealthRegistry } from "../rpc/standard/health.ts";
import { itself } from "../shares/holder.ts";
import { startAuditExport } from "./audit-export.ts";
import { bindingsOf } from "./bindings.ts";
import { createChanges } from "./change-sources.ts";
import { openDataFolder } from "./data-folder.ts";
import { expiringRows } from "./expiring-rows.ts";
import { writeFirstOperator } from "./first-operator.ts";
import { loadMasterKeys } from "./master-keys.ts";
import { metricSources } from "./metric-sources.ts";
import { startOpsPort } from "./ops-port.ts";
import { openPreparedDatabase } from "./prepared-database.ts";
import { createRooms, type Rooms } from "./rooms.ts";
import { startLimiter } from "./start-limiter.ts";
import { serviceVersion } from "./version.ts";

export interface ServiceOptions {
  readonly config: Config;
  readonly clock: AgeClock;
  readonly log: Log;
  /** Is added to the database's clock; only tests set it. */
  readonly timeShiftMs?: () => number;
  /** Whether unary gRPC takes the short lane (rpc/lanes/unary-lane.ts). Default true; only tests set it to false. */
  readonly unaryLane?: boolean;
}

/** A service that runs. */
export interface Service {
  /** `host:port` of the RPCs. */
  readonly address: string;
  /** `host:port` for operators. */
  readonly opsAddress: string;
  /** Reads the TLS certificate, the client authorities and the file of rate limits again. */
  reload(): void;
  /** Drains and closes everything. Calls in flight have `drainMs` of the configuration. */
  stop(): Promise<void>;
}

const DATABASE_WAIT_MS = 60_000;

/** Starts a service. When this resolves, the service is ready: its health is SERVING. */
export async function startService(given: ServiceOptions): Promise<Service> {
  const log = new CountedLog(given.log);
  const options = { ...given, log };
  const { config, clock, timeShiftMs } = options;
  // Each part is stopped before the parts that it was built on, also when a later step of the start fails.
  await using stack = new AsyncDisposableStack();
  stack.defer(flushSpans);
  const rateLimits = await openRateLimitFile({ file: config.rateLimitsFile, log });
  openDataFolder(config, log);
  const ring = loadMasterKeys(config);
  const bus = new ChangeBus();
  const onChanges = (changes: readonly Change[]) => bus.publish(changes);
  const waitMs = DATABASE_WAIT_MS;
  const database = await openPreparedDatabase({ config, ring, clock, log, timeShiftMs, waitMs, onChanges });
  stack.defer(() => database.close());
  const { limiter, redis } = await startLimiter({ config, clock, log }, stack);
  const changes = createChanges(options, database.for({ holder: itself("changes") }), bus);
  const { feed, breaker, databaseClock } = changes;
  stack.defer(() => feed.stop());
  stack.defer(() => breaker.stop());
  const verdicts = new VerdictCounts(MAX_SERVICES);
  const ground = { config, clock, log, ring, database, bus, feed, breaker, databaseClock, limiter, verdicts };
  const rooms = createRooms(ground);
  await feed.start();
  const auditExport = await startAuditExport(options, database, stack);
  await writeFirstOperator({ ring, format: rooms.keys.format, databaseClock, database, config, log });
  void rooms.signing.keys.reseal();

  const health = new HealthRegistry();
  const watches = new Watches();
  const server = createServer(options, { ring, limiter, rateLimits, changes, rooms, health, watches });
  const metrics = new Metrics(metricSources({ ...ground, log, server, rooms, watches, redis, auditExport }));
  server.observe(metrics);
  const ops = await startOpsPort({ config, log, metrics, isServing: () => health.get("") === "SERVING" });
  stack.defer(() => ops.stop());
  stack.defer(
    startRetention({ expiring: expiringRows({ config, changes, rooms, auditExport }), timers: systemTimers, log }),
  );
  stack.defer(() => rooms.audit.refusals.stop());
  for (const writer of [rooms.keys.usage.writer, rooms.keys.rehasher.writer]) {
    writer.start();
    stack.defer(() => writer.stop());
  }
  stack.defer(() => server.stop());
  const address = await server.start();
  health.setAll("SERVING");
  const running = stack.move();
  const reload = () => readFilesAgain(server, rateLimits);
  return { address, opsAddress: ops.address, reload, stop: () => running.disposeAsync() };
}

/** Reads the TLS certificate, the client authorities and the file of rate limits again, and does not wait for them. */
function readFilesAgain(server: RpcServer, rateLimits: RateLimitFile): void {
  server.reload();
  void rateLimits.readAgain();
}

interface ServerParts {
  readonly ring: KeyRing;
  readonly limiter: Limiter;
  readonly rateLimits: RateLimitFile;
  readonly changes: ReturnType<typeof createChanges>;
  readonly rooms: Rooms;
  readonly health: HealthRegistry;
  readonly watches: Watches;
}

function createServer({ config, clock, log, unaryLane }: ServiceOptions, parts: ServerParts): RpcServer {
  const { ring, limiter, rateLimits, changes, rooms, health, watches } = parts;
  const { trustedProxies, forwardedHeader, changesPerMinute, serviceChangesPerMinute, accessTokenMs } = config;
  const { tls, clientCaFile, reflection, docsPage, corsOrigins, drainMs } = config;
  const plaintext = tls === undefined || config.plaintextBesideTls;
  const { feed, store, databaseClock } = changes;
  const { refusals } = rooms.audit;
  const { records, format, usage, certificates } = rooms.keys;
  const accessTokens = rooms.users.authentication;
  const changeRate = new ChangeRate({ limiter, changesPerMinute, serviceChangesPerMinute });
  const addresses = new ClientAddresses({ trustedProxies, forwardedHeader, log });
  const clientCertificates = new ClientCertificates();
  const credentials = { records, format, usage, certificates, clientCertificates };
  const callers = new CallerResolver({ ...credentials, refusals, accessTokens, databaseClock, addresses });
  const watchDeps = { feed, store, databaseClock, clock, accessTokenMs, watches, timers: systemTimers };
  const info = { version: serviceVersion(), startedAtMs: clock.nowMs() };
  return new RpcServer(
    {
      clock,
      log,
      spans: openServerSpans(info.version),
      health,
      accessRule,
      isChange,
      checkAccess,
      admitChange: (caller) => changeRate.admit(caller),
      noteRefused: (call, outcome) => noteRefusedCall(refusals, call, outcome),
      knownCaller: (head) => callers.known(head),
      resolveCaller: (head) => callers.resolve(head),
      clientCertificates,
      callerOfConnection: (connection) => callers.ofConnection(connection),
      clientIp: (head) => addresses.of(head),
      jwks: () => rooms.signing.keys.jwks(),
    },
    bindingsOf({ ...rooms, ring, log, rateLimits, info }, watchDeps),
    { ...config.listen, tls, clientCaFile, plaintext, reflection, docsPage, corsOrigins, drainMs, unaryLane },
  );
}
