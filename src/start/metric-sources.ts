/** Where each metric of this process is read from. */
import type { ChangeFeed } from "../changes/change-feed.ts";
import type { DatabaseBreaker } from "../changes/database-breaker.ts";
import type { Watches } from "../changes/watch-changes.ts";
import type { VerdictCounts } from "../keys/verdict-counts.ts";
import type { AgeClock } from "../lib/clock.ts";
import type { CountedLog } from "../lib/counted-log.ts";
import type { Limiter } from "../limits/limit.ts";
import { LIMIT_MODES } from "../limits/limit-counts.ts";
import type { Database } from "../postgres/database.ts";
import type { MetricSources } from "../rpc/ops/metrics.ts";
import type { RpcServer } from "../rpc/server.ts";
import type { AuditExport } from "./audit-export.ts";
import type { Rooms } from "./rooms.ts";
import type { StartedLimiter } from "./start-limiter.ts";
import { serviceVersion } from "./version.ts";

export interface MetricParts {
  readonly clock: AgeClock;
  readonly log: CountedLog;
  readonly server: RpcServer;
  readonly rooms: Rooms;
  readonly database: Database;
  readonly feed: ChangeFeed;
  readonly breaker: DatabaseBreaker;
  readonly watches: Watches;
  readonly limiter: Limiter;
  readonly redis: StartedLimiter["redis"];
  readonly verdicts: VerdictCounts;
  readonly auditExport: AuditExport;
}

/** The sources of all metrics. They read numbers that the parts keep; none of them does any work. */
export function metricSources(parts: MetricParts): MetricSources {
  return {
    ...sourcesOfCalls(parts),
    ...sourcesOfKeys(parts),
    ...sourcesOfChanges(parts),
    ...sourcesOfDatabase(parts),
    ...sourcesOfLimits(parts),
    ...sourcesOfExport(parts),
    ...sourcesOfProcess(parts),
  };
}

/** The entries of a record with a number for each key, as series with one label. */
function byLabel<L extends string, K extends string, V>(label: L, values: Readonly<Record<K, V>>) {
  return Object.entries<V>(values).map(
    ([key, value]) => [{ [label]: key } as { readonly [P in L]: K }, value] as const,
  );
}

function sourcesOfCalls({ server, rooms, database, limiter }: MetricParts) {
  const { turns } = rooms.users.passwords;
  return {
    latchkey_calls_in_flight: () => server.callsInFlight,
    latchkey_connections: () => server.connections,
    latchkey_lane_calls_total: () => byLabel("lane", server.laneCalls),
    latchkey_batch_size: () => [
      ...[...rooms.keys.batches].map(([method, sizes]) => [{ method }, sizes] as const),
      [{ method: "RedisGroup" as const }, limiter.counts.groups] as const,
    ],
    latchkey_shed_calls_total: () =>
      byLabel("reason", {
        ...server.sheds,
        password_hashes: turns.refused,
        database_turns: database.turns.refused,
      }),
  } satisfies Partial<MetricSources>;
}

function sourcesOfKeys({ rooms, verdicts, log }: MetricParts) {
  const { records, usage, rehasher } = rooms.keys;
  return {
    latchkey_verdicts_total: () => verdicts,
    latchkey_key_records: () => records.size,
    latchkey_key_cache_reads_total: () => {
      const { keys, limits } = records.reads;
      const caches = { keys, limits, sessions: rooms.users.sessionCache.reads };
      return byLabel("cache", caches).flatMap(([cache, reads]) =>
        byLabel("result", { ...reads }).map(([result, count]) => [{ ...cache, ...result }, count] as const),
      );
    },
    latchkey_background_write_failures_total: () =>
      byLabel("what", { last_use: usage.writer.failures, secret_rehash: rehasher.writer.failures }),
    latchkey_master_key_missing_total: () => log.errors("LATCHKEY_MASTER_KEYS lacks a version that stored data needs"),
  } satisfies Partial<MetricSources>;
}

function sourcesOfChanges({ clock, feed, watches }: MetricParts) {
  return {
    latchkey_change_feed_age_seconds: () => (clock.elapsedMs() - feed.freshAtMs) / 1000,
    latchkey_change_feed_still_seconds: () => feed.stillMs / 1000,
    latchkey_change_feed_mode: () =>
      byLabel("mode", { listen: Number(feed.isListening), poll: Number(!feed.isListening) }),
    latchkey_change_feed_failures_total: () => feed.failures,
    latchkey_database_history_changes_total: () => feed.historyChanges,
    latchkey_watchers: () => watches.running,
    latchkey_watchers_cut_total: () => watches.cut,
  } satisfies Partial<MetricSources>;
}

function sourcesOfDatabase({ database, breaker, feed }: MetricParts) {
  const { counts, turns } = database;
  return {
    latchkey_database_away: () => Number(breaker.isOpen || feed.isFailing),
    latchkey_management_waiting: () => database.turns.waiting,
    latchkey_database_wait_seconds: () => [
      ...[...turns.waitSeconds].map(([caller, waits]) => [{ pool: "management" as const, caller }, waits] as const),
      [{ pool: "reads" as const, caller: "any" as const }, counts.reads.waitSeconds] as const,
    ],
    latchkey_database_query_seconds: () =>
      byLabel("pool", { management: counts.management.querySeconds, reads: counts.reads.querySeconds }),
    latchkey_database_errors_total: () =>
      byLabel("pool", { management: counts.management.failures, reads: counts.reads.failures }),
  } satisfies Partial<MetricSources>;
}

function sourcesOfLimits({ limiter, redis }: MetricParts) {
  return {
    latchkey_limit_decisions_total: () =>
      LIMIT_MODES.flatMap((mode) =>
        byLabel("outcome", limiter.counts.decisions[mode]).map(([outcome, n]) => [{ mode, ...outcome }, n] as const),
      ),
    latchkey_limits_degraded: () => Number(limiter.isDegraded()),
    latchkey_limits_degraded_total: () => limiter.degradedDecisions(),
    latchkey_limits_forgotten_total: () => limiter.forgottenLimits(),
    latchkey_redis_evicted_keys: () => redis.evictedKeys,
    latchkey_redis_command_seconds: () => redis.commandSeconds,
    latchkey_redis_errors_total: () => redis.failures,
  } satisfies Partial<MetricSources>;
}

function sourcesOfExport({ auditExport: { exporters } }: MetricParts) {
  return {
    latchkey_audit_export_waiting: () =>
      exporters.map(({ destination, figures }) => [{ destination }, figures.backlog.waiting] as const),
    latchkey_audit_export_oldest_seconds: () =>
      exporters.map(({ destination, figures }) => [{ destination }, figures.backlog.oldestAgeMs / 1000] as const),
    latchkey_audit_exports_total: () =>
      exporters.flatMap(({ destination, figures: { delivered, failed, lost } }) =>
        byLabel("outcome", { delivered, failed, lost }).map(
          ([outcome, count]) => [{ destination, ...outcome }, count] as const,
        ),
      ),
  } satisfies Partial<MetricSources>;
}

function sourcesOfProcess({ rooms, server, log }: MetricParts) {
  const { passwords } = rooms.users;
  const { refusals } = rooms.audit;
  const build = { version: serviceVersion(), node: process.versions.node };
  return {
    latchkey_password_hashes_total: () => passwords.hashes,
    latchkey_password_hash_queue: () => passwords.turns.hashing.waiting,
    latchkey_password_hash_wait_seconds: () => passwords.turns.waitSeconds,
    latchkey_build_info: () => [[build, 1] as const],
    latchkey_tls_certificate_expire_time_seconds: () => {
      const atMs = server.certificateExpiresAtMs;
      return atMs === undefined ? undefined : atMs / 1000;
    },
    latchkey_audit_refusals_waiting: () => refusals.waiting,
    latchkey_audit_write_failures_total: () => refusals.failures,
    latchkey_log_lines_total: () =>
      [...log.lines()].map(({ level, message, count }) => [{ level, message }, count] as const),
    latchkey_log_lines_dropped_total: () => log.droppedLines(),
  } satisfies Partial<MetricSources>;
}
