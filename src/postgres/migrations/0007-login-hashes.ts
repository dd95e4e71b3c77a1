import { Migration } from "@mikro-orm/migrations";

/** Hashes that an address has cost lately, those of good passwords included, which are no failures. */
export class LoginHashes extends Migration {
  override name = "0007-login-hashes";

  override up(): void {
    this.addSql("alter table login_addresses add column hashed_at timestamptz(3)[] not null default '{}'");
  }
}
