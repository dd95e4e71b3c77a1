import { Migration } from "@mikro-orm/migrations";

/** The times at which an address lately cost a password hash. Hashes of good passwords count too. */
export class LoginHashes extends Migration {
  override name = "0007-login-hashes";

  override up(): void {
    this.addSql("alter table login_addresses add column hashed_at timestamptz(3)[] not null default '{}'");
  }
}
