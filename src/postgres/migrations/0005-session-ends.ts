import { Migration } from "@mikro-orm/migrations";

/** The index that finds sessions to delete, by their absolute end, which never changes. */
export class SessionEnds extends Migration {
  override name = "0005-session-ends";

  override up(): void {
    this.addSql("create index sessions_by_end on sessions (expires_at)");
  }
}
