import { Migration } from "@mikro-orm/migrations";

/**
 * Notes accounts from before this version that two sessions began in from one address: the second was a login from where
 * the account was known. The trail remembers more logins than the table of sessions, which forgets them after weeks.
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
 * What a password reset is to do with the API keys of an account, and what that is decided by. Reading the trail may take
 * minutes, so no table that calls read or write is locked meanwhile: logins have a table of their own, which refers to
 * none, and the other change comes last.
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
