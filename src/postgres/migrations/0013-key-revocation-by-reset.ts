import { Migration } from "@mikro-orm/migrations";

/**
 * Notes accounts from before this version that two sessions began in from one address: the second was a login from where
 * the account was known. The trail remembers more logins than the table of sessions, which forgets them after weeks.
 */
export const NOTE_KNOWN_LOGINS = `
  update users set known_login_at = seen.first_at
  from (
    select actor_id, min(last_at) as first_at
    from (
      select actor_id, max(happened_at) as last_at
      from audit_events
      where kind = 'session.begun' and client_ip <> ''
      group by actor_id, client_ip
      having count(*) > 1
    ) as addresses
    group by actor_id
  ) as seen
  where users.id = seen.actor_id and users.known_login_at is null`;

/** What a password reset is to do with the API keys of an account, and what that is decided by. */
export class KeyRevocationByReset extends Migration {
  override name = "0013-key-revocation-by-reset";

  override up(): void {
    this.addSql("alter table users add column known_login_at timestamptz(3)");
    this.addSql("alter table password_resets add column revoke_keys boolean");
    this.addSql("alter table password_resets add column created_by text not null default ''");
    this.addSql(NOTE_KNOWN_LOGINS);
  }
}
