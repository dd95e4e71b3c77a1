/**
 * The table of all metrics. metrics.ts registers them from it, and docs/METRICS.md is generated from it, so neither can
 * lack one. A metric without a source, or a source without a row, does not compile.
 */

/** A row of the table. */
export interface MetricDeclaration {
  readonly type: "counter" | "gauge" | "histogram";
  /** The text of `# HELP`. */
  readonly help: string;
  /** The values of each label, or a description where they are not a closed set. */
  readonly labels?: Readonly<Record<string, readonly string[] | string>>;
  /** How the values of several worker processes become one. Counters and histograms are summed. */
  readonly workers?: "sum" | "max" | "min";
  /** When to look at it, and where to look next. */
  readonly look: string;
}

const VERDICTS = [
  ...["valid", "invalid", "disabled", "revoked", "expired", "owner_disabled", "scope_missing", "tier_not_allowed"],
  ...["ip_not_allowed", "method_not_allowed", "rate_limited"],
] as const;

/** The places that audit events are exported to. */
const DESTINATIONS = ["lines", "webhook"] as const;

/** Maximum services that have a label of their own in a process; the calls of further ones are counted together. */
export const MAX_SERVICES = 100;

const CALLS = {
  latchkey_calls_total: {
    type: "counter",
    help: "Calls that ended, by method and gRPC code.",
    labels: {
      method: "a method of the contract, such as `latchkey.v1.KeyService/VerifyKey`",
      code: "the name of a gRPC code, such as `OK` or `UNAVAILABLE`",
    },
    look: "The first look when you are paged: `UNAVAILABLE` and `INTERNAL` are the service's own fault.",
  },
  latchkey_call_duration_seconds: {
    type: "histogram",
    help: "Time from a call's headers to its end.",
    labels: { method: "as in `latchkey_calls_total`" },
    look: "Compare VerifyKey with the event loop's lag, `latchkey_redis_command_seconds` and `latchkey_database_query_seconds`. Streams count when they end.",
  },
  latchkey_calls_in_flight: {
    type: "gauge",
    help: "Calls in flight, streams included.",
    workers: "sum",
    look: "A process takes 8,000. It grows if something that calls wait for is slow.",
  },
  latchkey_lane_calls_total: {
    type: "counter",
    help: "Calls that began, by the protocol that brought them.",
    labels: { lane: ["unary_grpc", "envoy", "grpc", "grpc_web", "connect", "rest"] },
    look: "`unary_grpc` and `envoy` cost a fraction of the others. Calls with compression, and streams, are `grpc`.",
  },
  latchkey_batch_size: {
    type: "histogram",
    help: "Requests in a batch: of a batch RPC, or of a group of limit decisions that went to Redis as one command.",
    labels: { method: ["BatchVerifyKeys", "BatchCheckRateLimits", "RedisGroup"] },
    look: "Groups for Redis become larger with the load. Groups of one mean that Redis is asked for each decision.",
  },
  latchkey_shed_calls_total: {
    type: "counter",
    help: "Calls, streams and connections that were refused or ended for lack of room.",
    labels: {
      reason: [
        ...["calls", "streams", "message_bytes", "turns", "connections", "unread_answers"],
        ...["password_hashes", "database_turns"],
      ],
    },
    look: "Any growth that lasts: add processes, or find the caller who fills the room. The table below says what each reason means.",
  },
  latchkey_connections: {
    type: "gauge",
    help: "Open connections to the port of the RPCs.",
    workers: "sum",
    look: "A process takes 16,384.",
  },
} as const satisfies Record<string, MetricDeclaration>;

const KEYS = {
  latchkey_verdicts_total: {
    type: "counter",
    help: "Verdicts on keys by VerifyKey, each of BatchVerifyKeys, and Envoy's checks.",
    labels: {
      verdict: VERDICTS,
      service: `the id of the asking service's credential; \`other\` beyond ${MAX_SERVICES} services in a process; \`none\` without one`,
    },
    look: "A sudden share of `invalid` or `revoked` from one service is an attack, or a release with a wrong key. What near clients judge by themselves is not in it.",
  },
  latchkey_key_records: {
    type: "gauge",
    help: "Key records in memory.",
    workers: "sum",
    look: "At `LATCHKEY_CACHED_KEYS` in each process, the least recently used keys are read again.",
  },
  latchkey_key_cache_reads_total: {
    type: "counter",
    help: "Reads of the caches of records.",
    labels: { cache: ["keys", "limits", "sessions"], result: ["hit", "miss", "stale", "absent"] },
    look: "`miss` costs a read of PostgreSQL, `absent` is a known unknown. `stale` grows only while PostgreSQL is unreachable.",
  },
  latchkey_background_write_failures_total: {
    type: "counter",
    help: "Flushes of background writes that failed, and will be tried again.",
    labels: { what: ["last_use", "secret_rehash"] },
    look: "Growth over minutes: see PostgreSQL. Nothing is lost but times of use.",
  },
  latchkey_master_key_missing_total: {
    type: "counter",
    help: "How often stored data needed a version that LATCHKEY_MASTER_KEYS lacks.",
    look: "Any growth: add the version. Calls that need it end with MASTER_KEY_MISSING.",
  },
} as const satisfies Record<string, MetricDeclaration>;

const CHANGES = {
  latchkey_change_feed_age_seconds: {
    type: "gauge",
    help: "Age of the last successful poll of the change feed.",
    workers: "max",
    look: "Above 5 s, each record is read from PostgreSQL before it is used.",
  },
  latchkey_change_feed_still_seconds: {
    type: "gauge",
    help: "Time since the oldest open write transaction of the cluster, as the change feed sees it, last was another one.",
    workers: "max",
    look: "Minutes: a transaction was left open. PostgreSQL can't clean up; changes still arrive.",
  },
  latchkey_change_feed_mode: {
    type: "gauge",
    help: "1 for the way in which the change feed learns of changes: by the database's signals, or by frequent polls alone.",
    labels: { mode: ["listen", "poll"] },
    workers: "sum",
    look: "`poll` for long means a pooler that delivers no signals, or a connection that can't be made. Over workers it counts processes.",
  },
  latchkey_change_feed_failures_total: {
    type: "counter",
    help: "Polls of the change feed that failed.",
    look: "Growth: see whether PostgreSQL is reachable.",
  },
  latchkey_database_history_changes_total: {
    type: "counter",
    help: "How often the database lost history, as after a failover or a restore; every record is read again.",
    look: "Any growth that is no planned failover.",
  },
  latchkey_watchers: {
    type: "gauge",
    help: "Open streams of WatchRevocations.",
    workers: "sum",
    look: "One for each near client. A process takes at most 800 streams of all kinds.",
  },
  latchkey_watchers_cut_total: {
    type: "counter",
    help: "Streams of WatchRevocations that were cut off because their clients did not keep up.",
    look: "Growth: a near client is overloaded. It resumes with its cursor.",
  },
} as const satisfies Record<string, MetricDeclaration>;

const DATABASE = {
  latchkey_database_away: {
    type: "gauge",
    help: "1 while the database does not answer.",
    workers: "max",
    look: "The first look when you are paged, with the codes of `latchkey_calls_total`.",
  },
  latchkey_management_waiting: {
    type: "gauge",
    help: "Management calls and own tasks that wait for a database connection.",
    workers: "sum",
    look: "Above 0 for long: raise `LATCHKEY_DATABASE_POOL_SIZE`, or see `latchkey_database_query_seconds`.",
  },
  latchkey_database_wait_seconds: {
    type: "histogram",
    help: "Time that work waited for its share, its locks and a connection of a pool, also if it got none.",
    labels: { pool: ["management", "reads"], caller: ["service", "user", "anonymous", "itself", "any"] },
    look: "Which callers wait. Several callers share a read, so the pool `reads` has `any` alone.",
  },
  latchkey_database_query_seconds: {
    type: "histogram",
    help: "Time from a statement to its answer, of failed ones too. The embedded database has none.",
    labels: { pool: ["management", "reads"] },
    look: "PostgreSQL's own speed and the network. Reads end after 140 ms, management after 1.5 s.",
  },
  latchkey_database_errors_total: {
    type: "counter",
    help: "Statements that failed, and connections that could not be opened. The embedded database has none.",
    labels: { pool: ["management", "reads"] },
    look: "Growth: the log has the codes, and OPERATIONS.md what to do for each. Conflicts that are tried again count too.",
  },
} as const satisfies Record<string, MetricDeclaration>;

const LIMITS = {
  latchkey_limit_decisions_total: {
    type: "counter",
    help: "Decisions about limits, by who made them. A request without a limit is none.",
    labels: { mode: ["redis", "memory", "degraded", "full_window"], outcome: ["admitted", "refused"] },
    look: "`degraded` means without Redis. `full_window` was refused from memory, at no cost to Redis.",
  },
  latchkey_limits_degraded: {
    type: "gauge",
    help: "1 while this process decides limits alone, after several decisions without an answer from Redis.",
    workers: "max",
    look: "See whether Redis is reachable. Calls are answered meanwhile.",
  },
  latchkey_limits_degraded_total: {
    type: "counter",
    help: "Limits that this process decided alone because Redis did not answer.",
    look: "Growth without `latchkey_limits_degraded`: single answers of Redis took longer than 50 ms.",
  },
  latchkey_limits_forgotten_total: {
    type: "counter",
    help: "Limits in use that this process dropped because its memory for limits was full. Each can admit up to its number again.",
    look: "Any growth: use Redis, or bring it back.",
  },
  latchkey_redis_evicted_keys: {
    type: "gauge",
    help: "Keys that Redis evicted since Redis started. An evicted window begins again.",
    // All processes report Redis's own count, so it must not be summed.
    workers: "max",
    look: "Any growth: give Redis more memory, and set `maxmemory-policy` to `noeviction`.",
  },
  latchkey_redis_command_seconds: {
    type: "histogram",
    help: "Time from a command to Redis to its reply, of failed ones too.",
    look: "A decision waits 50 ms at most; then this process decides alone.",
  },
  latchkey_redis_errors_total: {
    type: "counter",
    help: "Commands to Redis that failed or could not be sent.",
    look: "Growth: the log line `Redis is unreachable` has the cause and what helps.",
  },
} as const satisfies Record<string, MetricDeclaration>;

const PASSWORDS = {
  latchkey_password_hashes_total: {
    type: "counter",
    help: "Password hashes begun. Each costs tens of milliseconds of a core.",
    look: "The rate of logins, good and bad. Compare with `latchkey_calls_total` of Login.",
  },
  latchkey_password_hash_queue: {
    type: "gauge",
    help: "Calls that wait for a password hash.",
    workers: "sum",
    look: "At most 32 in a process; beyond it, logins end with OVERLOADED.",
  },
  latchkey_password_hash_wait_seconds: {
    type: "histogram",
    help: "Time for which a call waited for a password hash that it got.",
    look: "At most half a second. Growth: more logins than the cores can hash.",
  },
} as const satisfies Record<string, MetricDeclaration>;

const PROCESS = {
  latchkey_build_info: {
    type: "gauge",
    help: "1, with the version of the service and of Node.",
    labels: { version: "the service's version", node: "the version of Node" },
    workers: "max",
    look: "Which versions run side by side.",
  },
  latchkey_tls_certificate_expire_time_seconds: {
    type: "gauge",
    help: "When the TLS certificate in use expires, in seconds since 1970. Absent without TLS.",
    workers: "min",
    look: "Alert when it minus `time()` is below `7 * 86400`.",
  },
  latchkey_audit_refusals_waiting: {
    type: "gauge",
    help: "Events about refused calls that wait to be written to the audit trail.",
    workers: "sum",
    look: "Above 0 for minutes: see PostgreSQL. They are lost if the process ends meanwhile.",
  },
  latchkey_audit_write_failures_total: {
    type: "counter",
    help: "Writes of events about refused calls that failed, and will be tried again.",
    look: "As `latchkey_audit_refusals_waiting`.",
  },
  latchkey_audit_export_waiting: {
    type: "gauge",
    help: "Audit events that wait for their export, at most 10,000 of each destination.",
    labels: { destination: DESTINATIONS },
    workers: "sum",
    look: "Growth means that the file or the receiver does not take them. Only the process that exports has a value above 0.",
  },
  latchkey_audit_export_oldest_seconds: {
    type: "gauge",
    help: "How long the oldest of these events has waited.",
    labels: { destination: DESTINATIONS },
    workers: "max",
    look: "Alert above an hour. Nothing is lost until `LATCHKEY_AUDIT_DAYS` have passed.",
  },
  latchkey_audit_exports_total: {
    type: "counter",
    help: "Exports of audit events by their outcome.",
    labels: { destination: DESTINATIONS, outcome: ["delivered", "failed", "lost"] },
    look: "`failed` is tried again. Any `lost`: the audit trail deleted the event first.",
  },
  latchkey_log_lines_total: {
    type: "counter",
    help: "Warnings and errors in the log, by message.",
    labels: { level: ["warn", "error"], message: "a message of LOGS.md, which is a constant text" },
    look: "Any `error`. LOGS.md says what each message means and what to do. Lines of the first process of several are not counted.",
  },
  latchkey_log_lines_dropped_total: {
    type: "counter",
    help: "Log lines that were lost because nothing read standard output, or because it could not be written.",
    look: "Any growth: the reader of the log hangs, or its disk is full.",
  },
} as const satisfies Record<string, MetricDeclaration>;

/** The rows by section of docs/METRICS.md. */
export const METRIC_SECTIONS = {
  Calls: CALLS,
  "Keys and sessions": KEYS,
  "The change feed": CHANGES,
  PostgreSQL: DATABASE,
  "Limits and Redis": LIMITS,
  Passwords: PASSWORDS,
  "The process": PROCESS,
} as const;

/** The rows by name. */
export const METRICS = { ...CALLS, ...KEYS, ...CHANGES, ...DATABASE, ...LIMITS, ...PASSWORDS, ...PROCESS } as const;

export type MetricName = keyof typeof METRICS;

/** The one metric of the first process of several, which SummedMetrics adds. */
export const WORKERS_ANSWERING = {
  name: "latchkey_workers_answering",
  help: "Worker processes that answered the latest request for their metrics.",
  look: "Below `LATCHKEY_WORKERS`: a worker hangs or is being replaced. Absent without workers.",
} as const;
