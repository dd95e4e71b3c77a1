import { CHANGES_KEPT_MS, type ChangeStore } from "../changes/change-store.ts";
import type { Config } from "../config/config.ts";
import type { RetentionDeps } from "../lib/retention.ts";
import type { AuditExport } from "./audit-export.ts";
import type { Rooms } from "./rooms.ts";

/** The parts whose rows expire. */
export interface ExpiringParts {
  readonly config: Pick<Config, "auditKeepMs">;
  readonly changes: { readonly store: Pick<ChangeStore, "prune"> };
  readonly rooms: Pick<Rooms, "audit" | "keys" | "users">;
  readonly auditExport: Pick<AuditExport, "prune">;
}

/** All rows that expire, by the nouns that the log has for them, and what deletes a portion of each. */
export function expiringRows({ config, changes, rooms, auditExport }: ExpiringParts): RetentionDeps["expiring"] {
  return {
    changes: () => changes.store.prune(CHANGES_KEPT_MS),
    "audit events": () => rooms.audit.store.prune(config.auditKeepMs),
    "events that wait for an export": () => auditExport.prune(),
    sessions: () => rooms.users.sessions.prune(),
    "login failures": () => rooms.users.failures.prune(),
    "request ids": () => rooms.keys.store.pruneRequests(),
  };
}
