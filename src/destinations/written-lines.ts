import type { AuditEvent } from "../audit/audit-event.ts";
import { exportedEvent } from "../audit/export/exported-event.ts";
import type { Delivery } from "../audit/export/exporter.ts";
import { codedCause } from "../lib/errors.ts";

/** Delivers events as JSON lines in one write. If it fails, none of them counts as delivered. */
export async function writeLines(
  events: readonly AuditEvent[],
  write: (lines: string) => Promise<void>,
): Promise<Delivery> {
  try {
    await write(events.map((event) => `${exportedEvent(event).text}\n`).join(""));
    return { delivered: new Set(events.map(({ id }) => id)), failed: new Map() };
  } catch (error) {
    const reason = codedCause(error)?.code ?? (error instanceof Error ? error.message : "unknown");
    return { delivered: new Set(), failed: new Map([[events[0]!.id, reason]]) };
  }
}
