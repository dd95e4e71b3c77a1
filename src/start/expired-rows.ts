import { CHANGES_KEPT_MS, type ChangeStore } from "../changes/change-store.ts";
import type { Config } from "../config/config.ts";
import { systemTimers } from "../lib/clock.ts";
import type { Log } from "../lib/log.ts";
import { startRetention } from "../lib/retention.ts";
import type { AuditExport } from "./audit-export.ts";
import type { Rooms } from "./rooms.ts";

/** The parts whose rows expire. */
export interface ExpiringParts {
  readonly config: Pick<Config, "auditKeepMs">;
  readonly log: Log;
  readonly changes: { readonly store: Pick<ChangeStore, "prune"> };
  readonly rooms: Pick<Rooms, "audit" | "users">;
  readonly auditExport: Pick<AuditExport, "prune">;
}

/** Begins to delete expired rows. The stack ends it. */
export function startRetentions(parts: ExpiringParts, stack: AsyncDisposableStack): void {
  const { config, log, changes, rooms, auditExport } = parts;
  for (const [what, prune] of [
    ["changes", () => changes.store.prune(CHANGES_KEPT_MS)],
    ["audit events", () => rooms.audit.store.prune(config.auditKeepMs)],
    ["events that wait for an export", () => auditExport.prune()],
    ["sessions", () => rooms.users.sessions.prune()],
  ] as const) {
    stack.defer(startRetention({ what, prune, timers: systemTimers, log }));
  }
}
