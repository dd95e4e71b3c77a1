/**
 * Every line that the service and its commands write to the log, by level. It is a closed list of messages; each has
 * its meaning and what an operator does about it. docs/LOGS.md is generated from it.
 *
 * lib/log.ts takes these messages alone, so that a line without a row does not compile. A message is a constant text:
 * every value is a field, so that an alert can match the whole message. The generator refuses a row that no source
 * writes.
 */

export interface LogLine {
  readonly means: string;
  readonly todo: string;
}

const NOTHING = "Nothing.";
const ADD_VERSION =
  "Put the version back into `LATCHKEY_MASTER_KEYS` of every process, at any place but the first. `npm run --silent master-keys` says what is kept under each version.";

export const LOG_LINES = {
  error: {
    "an uncaught error, which is a bug; the process ends": {
      means: "Code of the service let an error through. `reason`, `error` and `at` say which and where.",
      todo: "Let the supervisor restart the process. Report the line as a bug.",
    },
    "the service could not start": {
      means: "The process ends with exit code 1. `reason` names the setting or the server that prevented the start.",
      todo: "Do what `reason` says, then start again.",
    },
    "the service could not stop in order": {
      means: "The drain failed, and the process ends with exit code 1. Committed changes are safe.",
      todo: "Report `reason` as a bug. What was not written is a last use of a key or a refusal of the last seconds.",
    },
    "a worker ended; starting another one": {
      means: "One of `LATCHKEY_WORKERS` crashed or was killed. Its calls failed; the other workers serve on.",
      todo: "Read the lines before it. `signal=SIGKILL` mostly means that the machine is out of memory.",
    },
    "call failed": {
      means: "A call ended with `INTERNAL` or `MASTER_KEY_MISSING`, a fault of the service and not of the caller.",
      todo: "For `MASTER_KEY_MISSING`, read the line about `LATCHKEY_MASTER_KEYS` beside it. Report `INTERNAL` as a bug, with `error`, `code` and `at`.",
    },
    "metrics failed": {
      means: "The ops port answered a request for `/metrics` with 500.",
      todo: "Report it as a bug, with `error` and `at`. Calls are not affected.",
    },
    "the key set could not be read": {
      means:
        "The service answered 503 to a request for `/.well-known/jwks.json`, because it has never read the signing keys.",
      todo: "See whether PostgreSQL is reachable. Verifiers that keep a copy of the key set go on.",
    },
    "LATCHKEY_MASTER_KEYS lacks a version that stored data needs": {
      means:
        "A call needed a master key that this process was not given, and ended as `MASTER_KEY_MISSING`. `needed_by` says for what.",
      todo: ADD_VERSION,
    },
    "a signing key can't be unsealed": {
      means:
        "The signing key `kid` in the database was not sealed by this service's master key: its row was changed. Calls with its tokens end as `MASTER_KEY_MISSING`.",
      todo: "Find out who writes to the database. Restore the row from a backup, or revoke the key by `RevokeSigningKey`.",
    },
    "a stored password hash is corrupt; its owner can't log in": {
      means: "A password hash in the database does not have the form in which the service writes it.",
      todo: "Find out who writes to the database. Give the owner a new password by `CreatePasswordReset`.",
    },
    "PostgreSQL refuses what the service asks": {
      means:
        "A statement failed with a code that says something of the database, not of the call. Callers got `UNAVAILABLE`. At most one line a minute for each code.",
      todo: "Do what `todo` says. The table of codes in OPERATIONS.md has the same texts.",
    },
    "a hot read failed with an unknown error; the database counts as unreachable": {
      means:
        "A read of a key or a session failed with a code that the service has no rule for. Callers got `UNAVAILABLE`.",
      todo: "Look up `code` in PostgreSQL's documentation, Appendix A, and read PostgreSQL's log. Report the line as a bug.",
    },
    "audit events were deleted before they were exported": {
      means:
        "`events` of the audit trail became older than `LATCHKEY_AUDIT_DAYS` before `destination` took them. They are lost.",
      todo: "Make the destination work, or raise `LATCHKEY_AUDIT_DAYS` until it does. A dump of the database from before may have the events.",
    },
    "the embedded database sends no signals; only polls find changes": {
      means: "The embedded database refused to listen. A change reaches the caches at the next poll.",
      todo: "Restart the service. Report it if it happens again.",
    },
  },
  warn: {
    "an Envoy route's context_extensions are wrong, so all its requests are refused": {
      means:
        "Envoy asked about a request of a route with a setting `latchkey.*` that is unknown or has a bad value. Its clients get 500 with the code `CONFIGURATION`. `fault` names the setting, and `others` counts further faults. Each fault is told at most once in 10 minutes.",
      todo: "Correct the route's `context_extensions` in Envoy's configuration. docs/ENVOY.md lists all settings.",
    },
    "development only: production refuses this default": {
      means: "A setting is unset, and its default is good for trying things out only. `default` says which.",
      todo: "Nothing on a developer's machine. Elsewhere set `NODE_ENV=production` and what `default` names.",
    },
    "a setting is weaker than it seems": {
      means: "A production setting is allowed, and protects less than its name suggests. `setting` says which.",
      todo: "Do what `setting` says, or accept the risk.",
    },
    "made an admin credential, for development only": {
      means: "A development service found no operator, made one, and wrote the credential into `file`.",
      todo: "Use it, or nothing.",
    },
    "a private file or folder was open to others, and is now closed to them": {
      means: "`path` had the mode `mode`, so that other users of the machine could read it.",
      todo: "If other users have accounts on this machine, replace the secrets in that file.",
    },
    "a private file or folder is open to others, because its file system keeps no modes": {
      means: "The file system of the data folder ignores permissions.",
      todo: "Set `LATCHKEY_DATA_DIR` to a folder on another file system.",
    },
    "LATCHKEY_MASTER_KEYS lacks a version that stored data needs": {
      means:
        "At the start: the fields count what is kept under `version`. Each call that needs it will end as `MASTER_KEY_MISSING`.",
      todo: ADD_VERSION,
    },
    "what needs the missing versions of LATCHKEY_MASTER_KEYS could not be counted": {
      means:
        "At the start: the database knows master keys that this process was not given, and the count took too long.",
      todo: "Run `npm run --silent master-keys` with the service's environment, and add the versions that are in use.",
    },
    "LATCHKEY_TIERS lacks a tier that users or keys have; the lowest tier is used instead": {
      means:
        "Users or keys have a tier in `missing`. They get the limits of the tier `judged_as`. Production refuses to start.",
      todo: "Add the tiers to `LATCHKEY_TIERS`, or give the users and keys other ones.",
    },
    "the database is unreachable; trying again": {
      means: "A start waits for PostgreSQL, up to `give_up_in_seconds` more. `code` is the last error.",
      todo: "Start PostgreSQL, or correct the address in `DATABASE_URL`.",
    },
    "the database is not usable yet; trying again": {
      means:
        "PostgreSQL answers a start with the error `code`: `meaning`. The start tries again for `give_up_in_seconds` more.",
      todo: "Do what `todo` says.",
    },
    "the database lacks indexes; calls that need them are slower": {
      means: "The service started without the indexes of `missing`. Another process may build them now.",
      todo: "Nothing while `the schema is being applied` is logged there. Otherwise run `npm run --silent migrate`.",
    },
    "another process holds the lock of migrations; trying again": {
      means: "Another process applies the schema or makes the first operator. The fields say which.",
      todo: "Wait. If it hangs, the error after 60 s has the statement that ends it.",
    },
    "the connection pooler delivers no signals; only polls, 4 per second, find changes": {
      means:
        "NOTIFY does not pass the pooler, as in pgbouncer's transaction mode. The feed polls four times a second instead.",
      todo: "Nothing, or let `DATABASE_URL` name PostgreSQL itself.",
    },
    "the database is unreachable for the change feed": {
      means: "A poll failed. After 5 s without a poll, each record is read from the database before it is used.",
      todo: "See whether PostgreSQL is reachable. `reason` says how the poll failed.",
    },
    "the database's history changed; every record is read again": {
      means:
        "After a failover or a restore the feed can't tell what changed, so it empties every cache. Watchers get `resync`.",
      todo: "Nothing after a failover. Otherwise find out who restored or replaced the database.",
    },
    "a write transaction has been open for over a minute; the change feed does not wait for it": {
      means: "PostgreSQL can't clean up rows that this transaction might see. Changes still reach every process.",
      todo: "Find it in `pg_stat_activity` by its `xact_start`, and end it.",
    },
    "Redis is unreachable": {
      means: "This process has no usable connection to Redis. `cause` is the error, `advice` says what helps.",
      todo: "Do what `advice` says. Calls are answered meanwhile.",
    },
    "Redis is unreachable: this process judges limits alone": {
      means: "Each process admits its share of each limit by itself, and marks these answers as `degraded`.",
      todo: "Bring Redis back. Set `LATCHKEY_REPLICAS` to the number of machines, so that the shares add up to the limit.",
    },
    "Redis is not what the configuration names": {
      means:
        "A server answers, and it is a cluster node, no cluster, a Sentinel, or lacks the database number. Nothing is counted there.",
      todo: "Do what `advice` says.",
    },
    "Redis does not report whether it evicts keys": {
      means: "The user of Redis may not send INFO, so that the service can't warn of evicted limits.",
      todo: "Allow `+info`, see CONFIG.md.",
    },
    "Redis may evict windows of limits, and each of them then admits its limit once more": {
      means: "`maxmemory-policy` lets Redis delete counters when it is full.",
      todo: "Set `maxmemory-policy` to `noeviction`, or give the limits a Redis of their own.",
    },
    "Redis has evicted keys: windows of limits may have started again at 0": {
      means: "Redis was full and deleted `evicted` keys since the last look.",
      todo: "Raise `maxmemory`, set `maxmemory-policy` to `noeviction`, or give the limits a Redis of their own.",
    },
    "more limits are in use than this process can keep: the least recently counted start again at 0": {
      means: "The memory for limits is full. `forgotten` counts what was dropped since the start.",
      todo: "Do what `advice` says.",
    },
    "a signing key is revoked": {
      means: "An operator revoked the signing key `kid`. Its tokens are refused within 5 s; people refresh.",
      todo: "Nothing, if you know of it. ListAuditEvents names the operator.",
    },
    "the signing key is old and could not be replaced; trying again": {
      means: "The rotation by age failed. The old key signs on, and the next attempt is a minute away.",
      todo: "See whether PostgreSQL is reachable.",
    },
    "a signing key could not be sealed under the current master key; trying again": {
      means: "The signing key stays sealed under an older master key. The next read of the keys tries again.",
      todo: "Keep the old version in `LATCHKEY_MASTER_KEYS` until `npm run --silent master-keys` says that it may go.",
    },
    "secrets could not be moved to the current master key; trying again": {
      means: "`secrets` used secrets stay under an older master key. The next write tries again.",
      todo: "See whether PostgreSQL is reachable. Keep the old version until all have moved.",
    },
    "a refresh token was used again; the session has ended": {
      means: "Two parties held the same refresh token: theft, or a client that keeps old tokens.",
      todo: "If it happens to one user, ask them. If to many at once, look at the newest release of the client.",
    },
    "a refresh token is newer than its session": {
      means: "The database lost the last refreshes of this session, as after a restore from a backup.",
      todo: "Nothing after a restore: the user logs in again. Otherwise find out who changed the database.",
    },
    "a password was not hashed again; the next login tries again": {
      means: "A login was good, and its hash still has older parameters or an older master key.",
      todo: "Nothing, unless it happens at each login: then see `reason`.",
    },
    "a login that was good still counts as a failure": {
      means: "The password was right, and the database could not take the failure back. The user is logged in.",
      todo: "See whether PostgreSQL is reachable. The next good login clears it.",
    },
    "last use of keys could not be written; trying again": {
      means: "`keys` keys keep an older `last_used_at` for now.",
      todo: "See whether PostgreSQL is reachable.",
    },
    "refusals wait to be written to the audit trail; trying again each second": {
      means: "`events` refused calls are kept in memory until the database takes them.",
      todo: "See whether PostgreSQL is reachable.",
    },
    "refusals of the last seconds are not in the audit trail": {
      means: "The process stopped, and the database did not take `events` refused calls within a second.",
      todo: "Nothing. The log has a line for each of those calls.",
    },
    "audit events can't be exported now; trying again": {
      means:
        "A delivery to `destination` failed as a whole; `reason` is a status of HTTP or a code. Events wait in the database. One line for each run of failures.",
      todo: "Make the file or the receiver work. Nothing is lost until `LATCHKEY_AUDIT_DAYS` have passed.",
    },
    "an audit event can't be exported; events of its subject wait": {
      means: "The receiver refuses this `event`. The service tries it again, at least once in 75 minutes.",
      todo: "Look for the event's id in the receiver's log. `reason` is its answer.",
    },
    "events waited for an export that is no longer configured, and are deleted": {
      means:
        "No process has exported to a destination for 7 days, so its waiting events are deleted. The trail has them.",
      todo: "Nothing, if you ended the export. Otherwise set `LATCHKEY_AUDIT_EXPORT` or `LATCHKEY_WEBHOOK_URL` again.",
    },
    "expired rows could not be deleted; trying again in ten minutes": {
      means: "The rows that `rows` names stay longer than they need to.",
      todo: "Nothing, unless it lasts: then the tables grow. See `reason`.",
    },
    "a forwarded address from an untrusted peer is ignored": {
      means: "`peer` sent the headers in `headers`, and is no trusted proxy. Its own address counts.",
      todo: "If it is your proxy, set `LATCHKEY_TRUSTED_PROXIES` to its network.",
    },
    "forwarded headers that disagree are ignored": {
      means: "The trusted proxy `peer` sent two headers with different addresses. Its own address counts.",
      todo: "Set `LATCHKEY_FORWARDED_HEADER` to the one that your proxy writes.",
    },
    "the TLS certificate has expired; renew it": {
      means: "The service started with an expired certificate. Clients that check it refuse to connect.",
      todo: "Replace the files that `cert_file` and its key name. The service reads them without a restart.",
    },
    "the file of rate limits can't be used; the limits before stay": {
      means: "At SIGHUP the service read the file of `LATCHKEY_RATE_LIMITS_FILE`. `reason` names the faults.",
      todo: "Do what `reason` says, and send SIGHUP again. A service that starts with this file does not start.",
    },
    "the TLS certificate can't be replaced; the one before serves on": {
      means: "The files changed, and `reason` says why they can't be used. The old pair expires at `expires`.",
      todo: "Write a matching pair of certificate and key.",
    },
    "the client authorities are all removed": {
      means: "The file of LATCHKEY_TLS_CLIENT_CA_FILE has no PEM block. No client certificate counts any longer.",
      todo: "Write the authorities into the file, unless you mean to refuse all client certificates.",
    },
    "the client authorities can't be replaced; the ones before stay": {
      means: "The file of `LATCHKEY_TLS_CLIENT_CA_FILE` changed, and `reason` says why it can't be used.",
      todo: "Do what `reason` says. The service reads the file again every 5 s.",
    },
  },
  info: {
    "latchkey is ready": {
      means: "The process serves calls at `address` and the ops port at `ops`.",
      todo: NOTHING,
    },
    "the file of rate limits is read": {
      means: "The limits of Envoy's descriptors are those of `file`, which has `limits` of them.",
      todo: NOTHING,
    },
    "try next, in another terminal": { means: "A development service suggests the command `run`.", todo: NOTHING },
    "service links in the environment are ignored": {
      means: "Kubernetes or Docker set the variables in `names`. They look like settings and are none.",
      todo: NOTHING,
    },
    "stopping; a second signal forces, one second from now at the earliest": {
      means: "The process drains: it takes no new call and ends those under way.",
      todo: "Nothing. A second signal ends it at once.",
    },
    stopping: { means: "A worker drains.", todo: NOTHING },
    stopped: { means: "The drain is done, and the process ends with exit code 0.", todo: NOTHING },
    call: {
      means:
        "A call ended: one line each, except good verifications, checks of limits and health checks. `code` and `reason` are those of ERRORS.md. A REST call has the template of its path in `http_route`. `request_id` is the answer's `x-request-id`, and `trace_id` the call's trace.",
      todo: "Nothing. Look up `reason` in ERRORS.md.",
    },
    "this process exports the audit trail": {
      means: "It has the lease of `destination`. Other processes wait for it.",
      todo: NOTHING,
    },
    "audit events are exported again": {
      means: "A delivery to `destination` succeeded after failures.",
      todo: NOTHING,
    },
    "the schema is being applied": {
      means:
        "Migrations have been running for `for_seconds`; `migration` runs now. `phase` and `percent` are those of an index.",
      todo: "Wait. An index that waits for old snapshots waits for the oldest transactions in `pg_stat_activity`.",
    },
    "the schema is newer than this version": {
      means: "A later version has applied `newest`. This version needs `needed`, and runs beside it.",
      todo: "Nothing during an upgrade or after its rollback. Otherwise start the later version.",
    },
    "the database is reachable again for the change feed": {
      means: "A poll succeeded after one or more that failed.",
      todo: NOTHING,
    },
    "Redis is reachable again": {
      means: "The connection to Redis, or to `node` of a cluster, is back.",
      todo: NOTHING,
    },
    "Redis is reachable again: limits are judged together": {
      means: "All processes count in Redis again. What they admitted alone was added there.",
      todo: NOTHING,
    },
    "made a signing key": { means: "No key could sign, as at the first start, so one was made.", todo: NOTHING },
    "made the next signing key": {
      means: "A rotation began. The key `kid` is published now and signs as soon as verifiers can know it.",
      todo: NOTHING,
    },
    "sealed a signing key under the current master key": {
      means: "After a new first version in `LATCHKEY_MASTER_KEYS`: this key no longer needs the old one.",
      todo: NOTHING,
    },
    "moved secrets to the current master key": {
      means: "`secrets` keys were used after a new first version in `LATCHKEY_MASTER_KEYS`, and now use it.",
      todo: NOTHING,
    },
    "the TLS certificate is read": { means: "At the start: this pair is served until `expires`.", todo: NOTHING },
    "the TLS certificate is unchanged": {
      means: "SIGHUP asked for a look, and the files are the same.",
      todo: NOTHING,
    },
    "the TLS certificate is replaced: new connections get this one": {
      means: "The files changed. Open connections keep the old pair.",
      todo: NOTHING,
    },
    "the client authorities are read": {
      means:
        "At the start: client certificates that these authorities signed count. `first_expires` is the earliest end.",
      todo: NOTHING,
    },
    "the client authorities are unchanged": {
      means: "SIGHUP asked for a look, and the file is the same.",
      todo: NOTHING,
    },
    "the client authorities are replaced": {
      means: "The file changed. If an authority was removed, clients with certificates are asked to connect again.",
      todo: NOTHING,
    },
  },
} as const satisfies Readonly<Record<"error" | "warn" | "info", Readonly<Record<string, LogLine>>>>;
