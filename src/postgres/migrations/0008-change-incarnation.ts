import { Migration } from "@mikro-orm/migrations";

/**
 * Names the history that transaction ids belong to. PostgreSQL empties an UNLOGGED table in crash recovery, in a
 * promotion and in a restore from files. A row that was copied, by a dump or with its files, names another file or
 * another start of the server (see incarnation.ts).
 *
 * The table has no index: each hot read plans a look at it. A lock on `change_horizon` keeps it at one row.
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
