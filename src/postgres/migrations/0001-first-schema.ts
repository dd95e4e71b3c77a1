import { Migration } from "@mikro-orm/migrations";

/** People, keys, signing keys, and the log of changes, which keeps copies in memory fresh. */
export class FirstSchema extends Migration {
  override name = "0001-first-schema";

  override up(): void {
    this.addSql(`create table users (
      id text primary key,
      email text not null,
      email_normalized text not null unique,
      display_name text not null,
      tier text not null,
      scopes text[] not null,
      state text not null check (state in ('active', 'disabled')),
      password_hash text,
      password_version int not null,
      created_at timestamptz(3) not null
    )`);
    this.addSql("create index users_by_time on users (created_at desc, id desc)");

    this.addSql(`create table password_resets (
      token_digest bytea primary key,
      user_id text not null references users,
      created_at timestamptz(3) not null,
      expires_at timestamptz(3) not null,
      used_at timestamptz(3)
    )`);
    this.addSql("create index password_resets_by_user on password_resets (user_id)");

    this.addSql(`create table sessions (
      id text primary key,
      user_id text not null references users,
      seed bytea not null check (length(seed) = 32),
      ring_version int not null,
      generation int not null,
      password_version int not null,
      created_at timestamptz(3) not null,
      refreshed_at timestamptz(3) not null,
      idle_expires_at timestamptz(3) not null,
      expires_at timestamptz(3) not null,
      ended_at timestamptz(3),
      end_reason text,
      user_agent text not null,
      client_ip text not null
    )`);
    this.addSql("create index sessions_by_user on sessions (user_id, created_at desc, id desc)");
    this.addSql("create index sessions_ended on sessions (ended_at) where ended_at is not null");

    this.addSql(`create table signing_keys (
      kid text primary key,
      algorithm text not null check (algorithm in ('EdDSA', 'ES256')),
      sealed bytea not null,
      seal_version int not null,
      created_at timestamptz(3) not null,
      activates_at timestamptz(3) not null,
      retires_at timestamptz(3),
      revoked_at timestamptz(3)
    )`);

    this.addSql(`create table api_keys (
      id text primary key,
      kind text not null check (kind in ('api', 'service')),
      environment text not null,
      name text not null,
      description text not null,
      prefix text not null,
      owner_id text references users,
      issuer_id text not null,
      tier text not null,
      scopes text[] not null,
      metadata jsonb not null,
      allowed_ips text[] not null,
      allowed_methods text[] not null,
      limit_per_minute int,
      limit_per_day int,
      state text not null check (state in ('active', 'disabled', 'revoked')),
      disabled_by text,
      revoke_reason text,
      service_controlled boolean not null,
      created_at timestamptz(3) not null,
      expires_at timestamptz(3),
      revoked_at timestamptz(3),
      deleted_at timestamptz(3),
      last_used_at timestamptz(3),
      version int not null,
      check ((kind = 'api') = (owner_id is not null))
    )`);
    this.addSql("create index api_keys_by_owner on api_keys (owner_id, created_at desc, id desc)");
    this.addSql("create index api_keys_by_time on api_keys (kind, created_at desc, id desc)");

    this.addSql(`create table key_secrets (
      digest bytea primary key check (length(digest) = 32),
      key_id text not null references api_keys,
      pepper_version int not null,
      created_at timestamptz(3) not null,
      expires_at timestamptz(3)
    )`);
    this.addSql("create index key_secrets_by_key on key_secrets (key_id)");

    this.addSql(`create table key_requests (
      caller_id text not null,
      request_id uuid not null,
      parameters_digest bytea not null,
      key_id text not null references api_keys,
      created_at timestamptz(3) not null,
      primary key (caller_id, request_id)
    )`);

    this.addSql(`create table changes (
      id bigint generated always as identity primary key,
      xact_id xid8 not null default pg_current_xact_id(),
      kind text not null,
      subject_id text not null,
      changed_at timestamptz(3) not null default clock_timestamp()
    )`);
    this.addSql("create index changes_by_transaction on changes (xact_id)");
    this.addSql("create index changes_by_time on changes (changed_at)");

    // The newest transaction whose changes were deleted because of their age.
    this.addSql(`create table change_horizon (
      is_only_row boolean primary key default true check (is_only_row),
      pruned xid8 not null
    )`);
    this.addSql("insert into change_horizon (pruned) values ('0')");

    this.addSql(`create table master_key_checks (
      version int primary key,
      check_value bytea not null
    )`);
  }
}
