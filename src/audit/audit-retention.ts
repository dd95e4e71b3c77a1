import type { Timers } from "../lib/clock.ts";
import type { Log } from "../lib/log.ts";
import type { AuditStore } from "./audit-store.ts";

export interface AuditRetentionDeps {
  readonly audit: Pick<AuditStore, "prune">;
  readonly timers: Timers;
  readonly log: Log;
  /** How long events are kept. */
  readonly keepMs: number;
}

const PRUNE_EVERY_MS = 3_600_000;

/** Deletes events that are older than they are to be kept, every hour. @returns ends it */
export function startAuditRetention(deps: AuditRetentionDeps): () => void {
  let cancel = () => {};
  const prune = async () => {
    await deps.audit
      .prune(deps.keepMs)
      .catch(() => deps.log.warn("old audit events could not be deleted; trying again"));
    next();
  };
  const next = () => {
    cancel = deps.timers.after(PRUNE_EVERY_MS, () => void prune());
  };
  next();
  return () => cancel();
}
