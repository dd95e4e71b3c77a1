import { Migration } from "@mikro-orm/migrations";

/** Indexes that let a start find the tiers in use, whatever the number of people and keys. */
export class TiersInUse extends Migration {
  override name = "0006-tiers-in-use";

  override up(): void {
    this.addSql("create index users_by_tier on users (tier)");
    this.addSql("create index api_keys_by_tier on api_keys (tier) where kind = 'api' and state <> 'revoked'");
  }
}
