/**
 * The rows of the data set, as SQL. Each statement makes the rows of one table whose numbers are from $1 to $2, so that
 * PostgreSQL makes them all, and no row passes through this process. Ids are hashes of numbers: any part of the program
 * finds a row by its number, and neighbours by number are no neighbours in an index, as with random ids.
 *
 * What the distributions are like:
 *
 * - Each user has one key, and a fifth of the users share the rest by a power law, up to MAX_KEYS_OF_OWNER keys.
 * - 10 % of the keys are revoked (3 % are deleted), 3 % have expired, 1 % are disabled. 5 % have a second secret.
 * - Each user has a session. Two fifths ended long ago and wait to be pruned, a tenth was ended by its person.
 * - Audit events are evenly spread over `AUDIT_DAYS` and OVERDUE_SHARE of it more, which is overdue to be pruned.
 * - The log of changes has a week, of which only a day is kept.
 */

/** The size of a data set. */
export interface DataSetSize {
  readonly keys: number;
  readonly users: number;
  readonly auditEvents: number;
}

/** One table to fill. */
export interface TableRows {
  readonly table: string;
  readonly rows: number;
  /** Inserts the rows from number $1 to number $2. */
  readonly sql: string;
}

/** Maximum keys of the owner with the most keys. */
export const MAX_KEYS_OF_OWNER = 1000;
/** Days for which the service keeps audit events, by default. */
export const AUDIT_DAYS = 400;
/** Part of AUDIT_DAYS by which the oldest events are older than that. */
export const OVERDUE_SHARE = 0.1;

/** SQL: the functions of the data set. */
export const FUNCTIONS = `
  create schema growth;
  create function growth.id(kind text, n bigint) returns text immutable parallel safe language sql
    return kind || '_' || left(translate(encode(sha256((kind || n)::bytea), 'base64'), '+/', 'xy'), 16);
  create function growth.bytes(kind text, n bigint) returns bytea immutable parallel safe language sql
    return sha256((kind || n)::bytea)`;

/** The tables in the order in which they can be filled. */
export function tableRows({ keys, users, auditEvents }: DataSetSize): readonly TableRows[] {
  return [
    { table: "users", rows: users, sql: usersSql(users) },
    { table: "sessions", rows: users, sql: SESSIONS },
    { table: "api_keys", rows: keys, sql: keysSql(keys, users) },
    { table: "key_secrets", rows: keys, sql: SECRETS },
    { table: "key_requests", rows: Math.ceil(keys / 50), sql: REQUESTS },
    { table: "audit_events", rows: auditEvents, sql: eventsSql(auditEvents, users) },
    { table: "changes", rows: Math.ceil(keys / 10), sql: changesSql(Math.ceil(keys / 10)) },
    { table: "password_resets", rows: Math.ceil(users / 50), sql: RESETS },
    { table: "login_networks", rows: users, sql: NETWORKS },
    { table: "login_accounts", rows: Math.ceil(users / 50), sql: ACCOUNTS },
    { table: "login_addresses", rows: Math.ceil(users / 50), sql: ADDRESSES },
  ];
}

const NUMBERS = "from generate_series($1::bigint, $2::bigint) n";

/** SQL: times in the order of the rows, the last one now. */
const spread = (rows: number, days: number) =>
  `now() - interval '1 day' * (${days}::float8 * (1 - (n + 1)::float8 / ${rows}))`;

const TIER = "case when n % 10 < 7 then 'basic' when n % 10 < 9 then 'pro' else 'enterprise' end";

function usersSql(users: number): string {
  return `insert into users (id, email, email_normalized, display_name, tier, scopes, state, password_hash,
      password_version, created_at)
    select growth.id('usr', n), 'person.' || n || '@example.com', 'person.' || n || '@example.com', 'Person ' || n,
      ${TIER}, '{*}', case when n % 50 = 7 then 'disabled' else 'active' end,
      case when n % 10 <> 3 then '1$argon2id$v=19$m=19456,p=1,t=2$' || left(encode(growth.bytes('salt', n), 'base64'), 22)
        || '$' || left(encode(growth.bytes('hash', n), 'base64'), 43) end,
      case when n % 10 <> 3 then 1 else 0 end, ${spread(users, 730)}
    ${NUMBERS}`;
}

const SESSIONS = `insert into sessions (id, user_id, seed, ring_version, generation, password_version, created_at,
    refreshed_at, idle_expires_at, expires_at, ended_at, end_reason, user_agent, client_ip)
  select growth.id('ses', n), growth.id('usr', n), growth.bytes('seed', n), 1, 1 + n % 200, 1, at, at,
    at + interval '7 days', at + interval '30 days',
    case when n % 10 = 4 then at + interval '1 day' end, case when n % 10 = 4 then 'logged_out' end,
    'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0 Safari/537.36',
    '203.0.' || n % 113 || '.' || n % 251
  from (select n, now() - interval '1 day' * (case when n % 5 < 2 then 40 + random() * 90 else random() * 25 end) as at
    ${NUMBERS}) s`;

function keysSql(keys: number, users: number): string {
  const heavy = Math.max(1, Math.floor(users / 5));
  const rest = Math.max(1, keys - users);
  const most = rest / MAX_KEYS_OF_OWNER;
  const power = most > 1 ? Math.max(1, Math.log(heavy) / Math.log(most === 1 ? 2 : rest / MAX_KEYS_OF_OWNER)) : 1;
  return `insert into api_keys (id, kind, environment, name, description, prefix, owner_id, issuer_id, tier, scopes,
      metadata, allowed_ips, allowed_methods, limit_per_minute, limit_per_day, state, disabled_by, revoke_reason,
      service_controlled, created_at, expires_at, revoked_at, deleted_at, last_used_at, version)
    select id, 'api', environment, case when n % 100 < 3 then '' else 'key ' || n end,
      case when n % 4 = 1 then 'Used by the nightly job' else '' end, 'kit_' || environment || '_' || substr(id, 5, 3),
      owner_id, owner_id, tier, case when n % 3 = 0 then '{orders:read,orders:write}' else '{orders:read}' end::text[],
      case when n % 4 = 2 then '{"team": "payments"}' else '{}' end::jsonb,
      case when n % 20 = 11 then '{198.51.100.0/24}' else '{}' end::text[], '{}',
      case when n % 10 = 5 then 600 end, null,
      case when n % 100 < 10 then 'revoked' when n % 100 = 20 then 'disabled' else 'active' end,
      case when n % 100 = 20 then 'owner' end, case when n % 100 between 3 and 9 then 'no longer used' end, false, at,
      case when n % 100 between 30 and 32 then at + interval '1 hour' end,
      case when n % 100 < 10 then least(at + interval '9 days', now()) end,
      case when n % 100 < 3 then least(at + interval '9 days', now()) end,
      case when n % 3 <> 0 then least(at + interval '20 days', now()) end, 1
    from (
      select n, growth.id('key', n) as id, case when n % 4 = 3 then 'test' else 'live' end as environment, ${TIER} as tier,
        growth.id('usr', case when n < ${users} then n else floor(${heavy} * power(random(), ${power}))::bigint end)
          as owner_id,
        ${spread(keys, 730)} as at
      ${NUMBERS}
    ) k`;
}

const SECRETS = `insert into key_secrets (digest, key_id, pepper_version, created_at, expires_at)
  select growth.bytes('secret', n), growth.id('key', n), 1, now(), null ${NUMBERS}
  union all
  select growth.bytes('old', n), growth.id('key', n), 1, now() - interval '90 days', now() - interval '89 days'
  ${NUMBERS} where n % 20 = 0`;

const REQUESTS = `insert into key_requests (caller_id, request_id, parameters_digest, key_id, created_at)
  select case when n % 2 = 0 then growth.id('svc', n % 20) else growth.id('usr', n) end,
    md5(n::text)::uuid, growth.bytes('request', n), growth.id('key', n), now() - interval '1 day' * random() ${NUMBERS}`;

function eventsSql(events: number, users: number): string {
  return `insert into audit_events (id, happened_at, kind, actor_id, subject_id, client_ip, details)
    select growth.id('evt', n), ${spread(events, AUDIT_DAYS * (1 + OVERDUE_SHARE))},
      case when n % 4 = 0 then 'session.begun' when n % 4 = 1 then 'session.ended' when n % 4 = 2 then 'key.issued'
        else 'login.failed' end,
      growth.id('usr', (n * 7919) % ${users}),
      case when n % 4 < 2 then growth.id('ses', n) when n % 4 = 2 then growth.id('key', n)
        else growth.id('usr', (n * 7919) % ${users}) end,
      '203.0.' || n % 113 || '.' || n % 251,
      case when n % 4 = 1 then '{"reason": "logged_out"}'
        when n % 4 = 2 then '{"tier": "basic", "scopes": "orders:read"}'
        when n % 4 = 3 then '{"count": "3", "last_time": "2026-01-01T00:00:00.000Z"}' else '{}' end::jsonb
    ${NUMBERS}`;
}

function changesSql(changes: number): string {
  return `insert into changes (kind, subject_id, changed_at)
    select 'KEY', growth.id('key', n), ${spread(changes, 7)} ${NUMBERS}`;
}

const RESETS = `insert into password_resets (token_digest, ring_version, user_id, created_at, expires_at, used_at)
  select growth.bytes('reset', n), 1, growth.id('usr', n), at, at + interval '1 day',
    case when n % 3 = 0 then at + interval '1 hour' end
  from (select n, now() - interval '1 day' * 300 * random() as at ${NUMBERS}) r`;

const NETWORKS = `insert into login_networks (account_digest, ring_version, network, failures, failed_at, logged_in_at,
    forget_at)
  select growth.bytes('account', n / 2), 1,
    case when n % 2 = 0 then '203.0.' || n % 113 || '.0/24' else 'address 203.0.' || n % 113 || '.' || n % 251 end, 0, null,
    at, at + interval '30 days'
  from (select n, now() - interval '1 day' * 33 * random() as at ${NUMBERS}) l`;

const ACCOUNTS = `insert into login_accounts (account_digest, ring_version, failures, failed_at)
  select growth.bytes('account', n), 1, 1 + n % 40, now() - interval '1 day' * random() ${NUMBERS}`;

const ADDRESSES = `insert into login_addresses (address, failed_at, hashed_at, forget_at)
  select '10.' || n / 65536 || '.' || n / 256 % 256 || '.' || n % 256, array[now()], array[now()], now() + interval '1 minute'
  ${NUMBERS}`;
