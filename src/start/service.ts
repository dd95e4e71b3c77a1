/**
 * The one place where rooms and doors are connected: from a configuration to a service that runs. Read from top to
 * bottom it is the order of the start; `stop` undoes it from bottom to top.
 */

import { noteRefusedCredential } from "../audit/refusal-recorder.ts";
import { authenticateUser } from "../auth/authenticate-user.ts";
import { ChangeBus } from "../changes/change.ts";
import { ChangeFeed } from "../changes/change-feed.ts";
import { CHANGES_KEPT_MS } from "../changes/change-store.ts";
import { DatabaseBreaker } from "../changes/database-breaker.ts";
import { DatabaseClock } from "../changes/database-clock.ts";
import { Watches } from "../changes/watch-changes.ts";
import type { Config } from "../config/config.ts";
import { looksLikeCredential, openCredential } from "../keys/credentials/service-credential.ts";
import { type AgeClock, systemTimers } from "../lib/clock.ts";
import type { Log } from "../lib/log.ts";
import { startRetention } from "../lib/retention.ts";
import { SharedLimiter } from "../limits/limiter.ts";
import { LocalLimiter } from "../limits/local-limiter.ts";
import { EmbeddedChangeStore, PostgresChangeStore } from "../postgres/change-store.ts";
import type { ManagedDatabase } from "../postgres/database.ts";
import { RedisConnection } from "../redis/connection.ts";
import { RedisLimitStore } from "../redis/limit-store.ts";
import { accessRule, checkAccess } from "../rpc/access.ts";
import { CallerResolver } from "../rpc/calls/caller.ts";
import { ChangeRate } from "../rpc/calls/change-rate.ts";
import { ClientAddresses } from "../rpc/calls/client-ip.ts";
import type { CallObserver } from "../rpc/calls/concerns.ts";
import { noteRefusedCall } from "../rpc/calls/refused-calls.ts";
import { isChange } from "../rpc/effects.ts";
import { Metrics } from "../rpc/ops/metrics.ts";
import { RpcServer } from "../rpc/server.ts";
import { HealthRegistry } from "../rpc/standard/health.ts";
import { itself } from "../shares/holder.ts";
import { bindingsOf } from "./bindings.ts";
import { openDataFolder } from "./data-folder.ts";
import { writeFirstOperator } from "./first-operator.ts";
import { loadMasterKeys } from "./master-keys.ts";
import { startOpsPort } from "./ops-port.ts";
import { openPreparedDatabase } from "./prepared-database.ts";
import { createRooms, type Rooms } from "./rooms.ts";

export interface ServiceOptions {
  readonly config: Config;
  readonly clock: AgeClock;
  readonly log: Log;
  /** Adds to the database's clock; only tests move it. */
  readonly timeShiftMs?: () => number;
  /** Whether unary gRPC goes the short way (rpc/lanes/unary-lane.ts). Default true; only tests say no. */
  readonly unaryLane?: boolean;
}

/** A service that runs. */
export interface Service {
  /** `host:port` of the RPCs. */
  readonly address: string;
  /** `host:port` for operators. */
  readonly opsAddress: string;
  /** Reads the TLS certificate again. */
  reload(): void;
  /** Drains and closes everything. Calls in flight have as long as the configuration says. */
  stop(): Promise<void>;
}

const DATABASE_WAIT_MS = 60_000;
const REDIS_WAIT_MS = 1000;

/** Starts a service. It is ready when this resolves: its health says SERVING. */
export async function startService(options: ServiceOptions): Promise<Service> {
  const { config, clock, log } = options;
  // What was started last is stopped first, also when a later step fails.
  await using stack = new AsyncDisposableStack();
  openDataFolder(config, log);
  const ring = loadMasterKeys(config);
  const bus = new ChangeBus();
  const database = await openPreparedDatabase({
    ...options,
    ring,
    waitMs: DATABASE_WAIT_MS,
    onChanges: (changes) => bus.publish(changes),
  });
  stack.defer(() => database.close());
  const { limiter, evictedKeys } = await startLimiter(options, stack);
  const changes = createChanges(options, database.for({ holder: itself("changes") }), bus);
  stack.defer(() => {
    changes.breaker.stop();
    return changes.feed.stop();
  });
  const room = createRooms({ ...options, ...changes, ring, database, bus, limiter });
  await changes.feed.start();
  await writeFirstOperator({ ...room.keyDeps, database, config, log });
  void room.signingKeys.reseal();

  const health = new HealthRegistry();
  const metrics = new Metrics({
    callsInFlight: () => server.callsInFlight,
    keyRecords: () => room.keyRecords.size,
    feedAgeMs: () => clock.elapsedMs() - changes.feed.freshAtMs,
    feedStillMs: () => changes.feed.stillMs,
    isDatabaseAway: () => changes.breaker.isOpen || changes.feed.isFailing,
    managementWaiting: () => database.waiting,
    isLimiterDegraded: () => limiter.isDegraded(),
    degradedDecisions: () => limiter.degradedDecisions(),
    forgottenLimits: () => limiter.forgottenLimits(),
    evictedKeys,
    passwordHashes: () => room.authDeps.passwords.hashes,
    certificateExpiresAtMs: () => server.certificateExpiresAtMs,
  });
  const server = createServer(options, room, changes, health, metrics);
  const isServing = () => health.get("") === "SERVING";
  const ops = await startOpsPort({ ...options, isServing, metrics });
  stack.defer(() => ops.stop());
  for (const [what, prune] of [
    ["changes", () => changes.store.prune(CHANGES_KEPT_MS)],
    ["audit events", () => room.audit.prune(config.auditKeepMs)],
    ["sessions", () => room.authDeps.sessions.prune()],
  ] as const) {
    stack.defer(startRetention({ what, prune, timers: systemTimers, log }));
  }
  stack.defer(() => room.refusals.stop());
  for (const writer of [room.usage.writer, room.rehasher.writer]) {
    writer.start();
    stack.defer(() => writer.stop());
  }
  stack.defer(() => server.stop());
  const address = await server.start();
  health.setAll("SERVING");
  const running = stack.move();
  return { address, opsAddress: ops.address, reload: () => server.reload(), stop: () => running.disposeAsync() };
}

/** What tells this process of changes, everyone's included. */
function createChanges({ clock, log }: ServiceOptions, database: ManagedDatabase, bus: ChangeBus) {
  const breaker = new DatabaseBreaker(clock, systemTimers, () => database.hotRead("select true", []));
  const databaseClock = new DatabaseClock(clock);
  const { target } = database;
  const isEmbedded = target.kind === "embedded";
  const store = isEmbedded
    ? new EmbeddedChangeStore(database)
    : new PostgresChangeStore(database, target.connection, log);
  const feed = new ChangeFeed({ store, bus, breaker, clock, databaseClock, timers: systemTimers, log });
  return { feed, store, breaker, databaseClock };
}

async function startLimiter({ config, clock, log }: ServiceOptions, stack: AsyncDisposableStack) {
  if (config.redis === undefined) return { limiter: new LocalLimiter({ clock, log }), evictedKeys: () => 0 };
  const connection = new RedisConnection(config.redis, log);
  stack.defer(() => connection.close());
  const { replicas, workers } = config;
  const limiter = new SharedLimiter({ store: new RedisLimitStore({ connection }), clock, log, replicas, workers });
  stack.defer(() => limiter.close());
  // A Redis that is up is waited for, so that the first calls are not degraded; one that is down stops no start.
  if (!(await connection.ready(REDIS_WAIT_MS))) {
    log.warn("Redis is unreachable; limits are judged by this process alone");
  }
  return { limiter, evictedKeys: () => connection.evictedKeys };
}

function createServer(
  { config, clock, log, unaryLane }: ServiceOptions,
  room: Rooms,
  changes: ReturnType<typeof createChanges>,
  health: HealthRegistry,
  observer: CallObserver,
) {
  const changeRate = new ChangeRate({ ...config, limiter: room.limiter });
  const addresses = new ClientAddresses({ ...config, log });
  const callers = new CallerResolver({
    looksLikeCredential: (token: string) => looksLikeCredential(room.format, token),
    openCredential: (token: string) => openCredential(room, token),
    authenticateUser: (accessToken: string) => authenticateUser(room.authDeps, { accessToken }),
    databaseClock: room.keyDeps.databaseClock,
    used: (credentialId: string, atMs: number) => room.usage.used(credentialId, atMs),
    refused: (id, fault, head) => noteRefusedCredential(room.refusals, id, fault, addresses.of(head)),
  });
  return new RpcServer(
    {
      clock,
      log,
      health,
      observer,
      accessRule,
      isChange,
      checkAccess,
      admitChange: (caller) => changeRate.admit(caller),
      noteRefused: (call, outcome) => noteRefusedCall(room.refusals, call, outcome),
      knownCaller: (head) => callers.known(head),
      resolveCaller: (head) => callers.resolve(head),
      callerOfConnection: (connection) => callers.ofConnection(connection),
      clientIp: (head) => addresses.of(head),
      jwks: () => room.signingKeys.jwks(),
    },
    bindingsOf(
      { ...room, ring: room.keyDeps.ring },
      { ...changes, accessTokenMs: config.accessTokenMs, watches: new Watches(), timers: systemTimers },
    ),
    { ...config.listen, ...config, plaintext: config.tls === undefined || config.plaintextBesideTls, unaryLane },
  );
}
