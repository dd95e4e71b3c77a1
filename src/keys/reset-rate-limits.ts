import type { Actor } from "../audit/actor.ts";
import type { AuditStore } from "../audit/audit-store.ts";
import type { Limiter } from "../limits/limit.ts";
import { entryOf, type FindKeyDeps, findKey } from "./change-key.ts";
import { keySubject } from "./limit-requests.ts";

export interface ResetRateLimitsDeps extends FindKeyDeps {
  readonly limiter: Pick<Limiter, "reset">;
  readonly audit: Pick<AuditStore, "record">;
}

/**
 * Empties the windows of a key's own limits. Another process that holds one of them for full notices within 5 s. Limits
 * that calling services named for the key stay: they are theirs. Whoever is told that the database is out of reach does
 * it again, since what is not on record counts as not done.
 *
 * @throws KEY_NOT_FOUND; LIMITS_UNAVAILABLE when nothing was reset; DATABASE_UNAVAILABLE
 */
export async function resetRateLimits(
  deps: ResetRateLimitsDeps,
  actor: Actor,
  input: { readonly keyId: string },
): Promise<void> {
  const { key } = await findKey(deps, actor, input.keyId);
  await deps.limiter.reset(keySubject(key.id), []);
  await deps.audit.record({ ...entryOf(actor, "key.limits_reset"), subjectId: key.id });
}
