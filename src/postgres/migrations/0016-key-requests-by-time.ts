import { ConcurrentIndex } from "./built-concurrently.ts";

/**
 * The index that finds forgotten request_ids. The table has those of about a day, and one for each caller that has
 * stopped calling. So it is small beside the keys.
 */
export class KeyRequestsByTime extends ConcurrentIndex {
  override name = "0016-key-requests-by-time";
  override index = { name: "key_requests_by_time", table: "key_requests", on: "(created_at)" };
}
