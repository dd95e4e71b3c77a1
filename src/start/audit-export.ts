import { AuditExporter, type Destination } from "../audit/export/exporter.ts";
import type { Config } from "../config/config.ts";
import { LineFile } from "../destinations/line-file.ts";
import { StandardLines } from "../destinations/standard-lines.ts";
import { WebhookDestination } from "../destinations/webhook.ts";
import { type AgeClock, DAY_MS, systemTimers } from "../lib/clock.ts";
import type { Log } from "../lib/log.ts";
import { randomBase62, randomFraction } from "../lib/random.ts";
import type { Database } from "../postgres/database.ts";
import { PostgresExportStore } from "../postgres/stores/export-store.ts";
import { itself } from "../shares/holder.ts";

/** A destination that no process has led for this time is no longer configured. */
const FORGOTTEN_AFTER_MS = 7 * DAY_MS;

interface ExportGround {
  readonly config: Pick<Config, "auditExport">;
  readonly clock: AgeClock;
  readonly log: Log;
}

/** The export of the audit trail by this process. */
export interface AuditExport {
  /** One for each configured destination. */
  readonly exporters: readonly AuditExporter[];
  /**
   * Deletes some of the waiting events that can't be delivered: the destination is no longer configured, or the trail
   * has deleted the event. @returns whether it did
   */
  prune(): Promise<boolean>;
}

/** Begins to export to each configured destination. The exporters stop with the stack. */
export async function startAuditExport(
  { config, clock, log }: ExportGround,
  database: Database,
  stack: AsyncDisposableStack,
): Promise<AuditExport> {
  const store = new PostgresExportStore(database.for({ holder: itself("export") }));
  const common = { store, clock, timers: systemTimers, log, random: randomFraction };
  const exporters = destinationsOf(config.auditExport, clock).map(
    (destination) => new AuditExporter({ ...common, destination, holder: randomBase62(16) }),
  );
  for (const exporter of exporters) {
    stack.defer(() => exporter.stop());
    await exporter.start();
  }
  return {
    exporters,
    async prune() {
      const events = await store.forget(FORGOTTEN_AFTER_MS);
      if (events > 0) log.warn("events waited for an export that is no longer configured, and are deleted", { events });
      let isAnyLost = false;
      for (const exporter of exporters) isAnyLost = (await exporter.prune()) || isAnyLost;
      return events > 0 || isAnyLost;
    },
  };
}

function destinationsOf({ lines, webhook }: Config["auditExport"], clock: AgeClock): Destination[] {
  const destinations: Destination[] = [];
  if (lines !== undefined) destinations.push(lines === "stdout" ? new StandardLines() : new LineFile(lines));
  if (webhook !== undefined) destinations.push(new WebhookDestination({ ...webhook, clock }));
  return destinations;
}
