import { Migration } from "@mikro-orm/migrations";

/**
 * Under which master key a row was kept, where it did not say so: an operator must see when a version may go. 0 stands
 * for rows from before, and for those of a process that does not know the column yet.
 */
export class MasterKeyVersions extends Migration {
  override name = "0004-master-key-versions";

  override up(): void {
    for (const table of ["password_resets", "login_accounts", "login_networks"]) {
      this.addSql(`alter table ${table} add column ring_version int not null default 0`);
    }
    this.addSql("create index key_secrets_by_pepper on key_secrets (pepper_version)");
  }
}
