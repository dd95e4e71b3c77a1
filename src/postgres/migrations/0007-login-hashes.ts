import { Migration } from "@mikro-orm/migrations";

/** Times of the password hashes that an address has cost lately. Those of good passwords count too. */
export class LoginHashes extends Migration {
  override name = "0007-login-hashes";

  override up(): void {
    this.addSql("alter table login_addresses add column hashed_at timestamptz(3)[] not null default '{}'");
  }
}
