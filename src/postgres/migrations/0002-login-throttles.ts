import { Migration } from "@mikro-orm/migrations";

/**
 * Failed logins and known networks. No row names a person: an account appears as the HMAC of its address. So the rows
 * are the same whether the account exists or not, and no row refers to users.
 */
export class LoginThrottles extends Migration {
  override name = "0002-login-throttles";

  override up(): void {
    this.addSql(`create table login_accounts (
      account_digest bytea primary key check (length(account_digest) = 32),
      failures int not null check (failures > 0),
      failed_at timestamptz(3) not null
    )`);
    this.addSql("create index login_accounts_by_failures on login_accounts (failures desc, failed_at desc)");

    this.addSql(`create table login_networks (
      account_digest bytea not null check (length(account_digest) = 32),
      network text not null,
      failures int not null,
      failed_at timestamptz(3),
      logged_in_at timestamptz(3),
      forget_at timestamptz(3) not null,
      primary key (account_digest, network)
    )`);
    this.addSql("create index login_networks_by_end on login_networks (forget_at desc)");

    this.addSql(`create table login_addresses (
      address text primary key,
      failed_at timestamptz(3)[] not null,
      forget_at timestamptz(3) not null
    )`);
    this.addSql("create index login_addresses_by_end on login_addresses (forget_at desc)");
  }
}
