import type { AuditStore } from "../audit/audit-store.ts";
import type { Limiter } from "../limits/limit.ts";
import { entryOf, type FindKeyDeps, findKey, type OneKeyInput } from "./change-key.ts";
import { keySubject } from "./limit-requests.ts";

export interface ResetRateLimitsDeps extends FindKeyDeps {
  readonly limiter: Pick<Limiter, "reset">;
  readonly audit: Pick<AuditStore, "record">;
}

/**
 * Empties the windows of a key's own limits. Another process that knew a window to be full may deny for up to 5 s more.
 * The limits that calling services named for the key stay, because they belong to those services.
 *
 * On DATABASE_UNAVAILABLE the caller should reset again: the windows may be empty, but the audit trail has no record.
 *
 * @throws KEY_NOT_FOUND; LIMITS_UNAVAILABLE when nothing was reset; DATABASE_UNAVAILABLE
 */
export async function resetRateLimits(deps: ResetRateLimitsDeps, input: OneKeyInput): Promise<void> {
  const { key } = await findKey(deps, input);
  await deps.limiter.reset(keySubject(key.id), []);
  await deps.audit.record({ ...entryOf(input.by, "key.limits_reset"), subjectId: key.id });
}
