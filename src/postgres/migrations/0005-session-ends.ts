import { Migration } from "@mikro-orm/migrations";

/** By which sessions are found that ended so long ago that they are deleted. A session's absolute end never changes. */
export class SessionEnds extends Migration {
  override name = "0005-session-ends";

  override up(): void {
    this.addSql("create index sessions_by_end on sessions (expires_at)");
  }
}
