import { Migration } from "@mikro-orm/migrations";

/**
 * The incarnation of the history that transaction ids belong to (see incarnation.ts). PostgreSQL empties an UNLOGGED
 * table in crash recovery, in a promotion and in a restore from files. A row that was copied, by a dump or with its
 * files, names another file or another start of the server.
 *
 * The table has no index, because each hot read plans a scan of it. A lock on `change_horizon` keeps it at one row.
 */
export class ChangeIncarnation extends Migration {
  override name = "0008-change-incarnation";

  override up(): void {
    this.addSql(`create unlogged table change_incarnation (
      id uuid not null,
      path text not null,
      server_start timestamptz not null
    )`);
  }
}
