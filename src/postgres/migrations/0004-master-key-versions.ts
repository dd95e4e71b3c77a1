import { Migration } from "@mikro-orm/migrations";

/**
 * The version of the master key in rows that lacked it, so that an operator sees when a version may be removed. 0
 * stands for rows that are older than the column, and for rows of a process that does not know the column yet.
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
