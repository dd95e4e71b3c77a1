import type { AuditEvent } from "../audit/audit-event.ts";
import type { Delivery, Destination } from "../audit/export/exporter.ts";
import { StandardOutput } from "../lib/standard-output.ts";
import { writeLines } from "./written-lines.ts";

/**
 * The standard output, which the log shares. A line of the log has `level`; an event has `type` and `data`. A delivery
 * waits for the reader. If it waits longer than the lease, another process may export the same events too.
 */
export class StandardLines implements Destination {
  readonly name = "lines";

  async deliver(events: readonly AuditEvent[]): Promise<Delivery> {
    return writeLines(events, (lines) => StandardOutput.shared().writeSurely(lines));
  }

  close(): void {}
}
