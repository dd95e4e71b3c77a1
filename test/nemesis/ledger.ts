/**
 * The ledger: the database's own record of what was true when. Triggers record each version of a row in the transaction
 * that writes it, and PostgreSQL keeps the time of each COMMIT (`track_commit_timestamp`). So the ledger also shows
 * whether an operation happened whose answer was lost.
 */
import type { CommittedChange, LedgerRow } from "./history.ts";

/** Runs a statement as a superuser on a direct connection, not through a proxy. */
export type Query = (sql: string, parameters?: unknown[]) => Promise<readonly Record<string, unknown>[]>;

const NOTED: Readonly<Record<LedgerRow["relation"], string>> = {
  api_keys: "insert or update of state, scopes, deleted_at",
  users: "insert or update of state",
  sessions: "insert or update of generation, ended_at",
  key_secrets: "insert or update of expires_at or delete",
};

/** Call it when the schema exists. The switch makes each write of these tables fail as on a full disk. */
export async function installLedger(query: Query): Promise<void> {
  await query(`
    create schema nemesis;
    create table nemesis.ledger (
      seq bigserial primary key, relation text not null, subject text not null, is_deletion boolean not null,
      xact xid8 not null default pg_current_xact_id(), facts jsonb not null
    );
    create table nemesis.switches (is_disk_full boolean not null);
    insert into nemesis.switches values (false);
    create function nemesis.note() returns trigger language plpgsql security definer set search_path = pg_catalog as $$
    declare
      facts jsonb := case when tg_op = 'DELETE' then to_jsonb(old) else to_jsonb(new) end;
    begin
      if (select is_disk_full from nemesis.switches) then
        raise exception 'could not extend file: No space left on device' using errcode = '53100';
      end if;
      insert into nemesis.ledger (relation, subject, is_deletion, facts)
      values (tg_table_name, coalesce(facts ->> 'key_id', facts ->> 'id'), tg_op = 'DELETE', facts - 'seed' - 'password_hash');
      return null;
    end $$`);
  for (const [relation, events] of Object.entries(NOTED)) {
    await query(`create trigger nemesis_note after ${events} on public.${relation}
      for each row execute function nemesis.note()`);
  }
}

export async function readLedger(query: Query): Promise<readonly LedgerRow[]> {
  const rows = await query(`select relation, subject, is_deletion as "isDeletion", facts,
      extract(epoch from pg_xact_commit_timestamp(xact::xid))::float8 * 1000 as "committedMs"
    from nemesis.ledger order by seq`);
  return rows as unknown as LedgerRow[];
}

export async function readChanges(query: Query): Promise<readonly CommittedChange[]> {
  const rows = await query(`select kind || ' ' || subject_id as what,
      extract(epoch from pg_xact_commit_timestamp(xact_id::xid))::float8 * 1000 as "committedMs"
    from public.changes order by id`);
  return rows as unknown as CommittedChange[];
}
