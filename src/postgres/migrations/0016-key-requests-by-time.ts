import { Migration } from "@mikro-orm/migrations";

/**
 * The index that finds forgotten request_ids. The table has those of about a day, and one for each caller that has
 * stopped calling. So it is small beside the keys.
 */
export class KeyRequestsByTime extends Migration {
  override name = "0016-key-requests-by-time";

  override up(): void {
    this.addSql("create index if not exists key_requests_by_time on key_requests (created_at)");
  }
}
