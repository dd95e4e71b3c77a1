import { Migration } from "@mikro-orm/migrations";

/**
 * Notes known logins of accounts from before this version: if two sessions began from one address, the second was a
 * login from a known place. The audit trail has more logins than the table of sessions, which keeps them only for
 * weeks.
 */
export const NOTE_KNOWN_LOGINS = `
  insert into known_logins (user_id, known_login_at)
  select actor_id, min(last_at)
  from (
    select actor_id, max(happened_at) as last_at
    from audit_events
    where kind = 'session.begun' and client_ip <> ''
    group by actor_id, client_ip
    having count(*) > 1
  ) as addresses
  group by actor_id`;

/**
 * Columns for what a password reset does with an account's API keys, and for the facts that decide it. Reading the
 * trail may take minutes, but locks no table that calls read or write. For this, known logins have a separate table
 * without references, and password_resets is changed last.
 */
export class KeyRevocationByReset extends Migration {
  override name = "0013-key-revocation-by-reset";

  override up(): void {
    this.addSql(`create table known_logins (
      user_id text primary key,
      known_login_at timestamptz(3) not null
    )`);
    this.addSql(NOTE_KNOWN_LOGINS);
    this.addSql(`alter table password_resets
      add column revoke_keys boolean,
      add column created_by text not null default ''`);
  }
}
