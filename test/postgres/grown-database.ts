/** A database of a PostgreSQL that can explain, with many rows in every table that grows. */
import pg from "pg";
import { loadDataSet } from "../../bench/growth/data-set.ts";
import { migrateTo, migrationNames } from "../../bench/growth/schema.ts";
import { MAX_KEYS_OF_OWNER } from "../../bench/growth/table-rows.ts";
import { databaseUrl } from "../../src/config/database-url.ts";
import { startExplainedPostgres } from "../support/explained-postgres.ts";
import type { PostgresServer } from "../support/own-postgres.ts";

const SIZE = { keys: 40_000, users: 20_000, auditEvents: 40_000 };
/** Keys of the owner with the most, at most: the power law has a little noise. */
export const MOST_KEYS = 1.2 * MAX_KEYS_OF_OWNER;

/**
 * Each table that grows, with SQL that adds rows where the data set has few in proportion to people and keys. The rows
 * are numbered from 10,000 on.
 */
const NUMBERS = "from generate_series(10000, 29999) n";
export const ROWS: Readonly<Record<string, string>> = {
  users: "",
  sessions: "",
  api_keys: "",
  key_secrets: "",
  audit_events: "",
  login_networks: "",
  password_resets: `insert into password_resets (token_digest, ring_version, user_id, created_at, expires_at)
    select growth.bytes('other', n), 1, growth.id('usr', n - 10000), now(), now() + interval '1 day' ${NUMBERS}`,
  known_logins: `insert into known_logins select growth.id('usr', n), now() ${NUMBERS}`,
  key_requests: `insert into key_requests select growth.id('usr', n), gen_random_uuid(), '', growth.id('key', n),
    now() - interval '1 hour' ${NUMBERS}`,
  changes: `insert into changes (kind, subject_id) select 'KEY', growth.id('key', n) ${NUMBERS}`,
  certificate_names: `insert into certificate_names select 'service-' || n, growth.id('svc', n) ${NUMBERS}`,
  audit_outbox: `insert into audit_outbox (destination, event_id, subject_id, queued_at, due_at, attempts)
    select case when n % 2 = 0 then 'lines' else 'webhook' end, growth.id('evt', n), growth.id('key', n), now(), now(),
      case when n % 100 = 0 then 1 else 0 end ${NUMBERS}`,
  login_accounts: `insert into login_accounts (account_digest, ring_version, failures, failed_at)
    select growth.bytes('account', n), 1, 1 + n % 40, now() ${NUMBERS}`,
  login_addresses: `insert into login_addresses (address, failed_at, hashed_at, forget_at)
    select 'address ' || n, '{}', '{}', now() + interval '1 hour' ${NUMBERS}`,
};

export interface GrownDatabase {
  readonly postgres: PostgresServer;
  readonly name: string;
  readonly url: string;
  /** The owner with the most keys. */
  readonly ownerId: string;
  /** An actor and a subject of the audit trail. */
  readonly actorId: string;
  readonly subjectId: string;
  readonly keyIds: readonly string[];
  /** A time in the middle of all lists. */
  readonly middleMs: number;
  /** Adds as many request_ids of a caller as a busy one has in a day. */
  fillRequestsOf(callerId: string): Promise<void>;
}

export async function grownDatabase(): Promise<GrownDatabase> {
  const [postgres, name] = [await startExplainedPostgres(), "grown"];
  const url = await postgres.createDatabase(name);
  await migrateTo(databaseUrl(url), migrationNames().at(-1)!);
  const client = new pg.Client(url);
  await client.connect();
  await loadDataSet(client, SIZE, () => {});
  for (const sql of Object.values(ROWS)) if (sql !== "") await client.query(sql);
  await client.query("analyze");
  const { rows } = await client.query(
    `select (select owner_id from api_keys group by 1 order by count(*) desc limit 1) as owner,
       actor_id as actor, subject_id as subject,
       array(select id from api_keys order by id limit 100) as keys
     from audit_events where subject_id <> actor_id limit 1`,
  );
  await client.end();
  const [{ owner: ownerId, actor: actorId, subject: subjectId, keys: keyIds }] = rows;
  const fillRequestsOf = async (callerId: string) => {
    const requests = `insert into key_requests select '${callerId}', gen_random_uuid(), '', growth.id('key', n),
      now() - interval '1 hour' ${NUMBERS}`;
    await postgres.sql(`${requests}; analyze key_requests`, name);
  };
  const middleMs = Date.now() - 300 * 86_400_000;
  return { postgres, name, url, ownerId, actorId, subjectId, keyIds, middleMs, fillRequestsOf };
}
