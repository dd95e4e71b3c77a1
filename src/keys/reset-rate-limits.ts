import type { Limiter } from "../limits/limit.ts";
import { entryOf, findKey, type OneKeyInput } from "./change-key.ts";
import type { KeyStore } from "./key-store.ts";
import { keySubject } from "./limit-requests.ts";

export interface ResetRateLimitsDeps {
  readonly store: Pick<KeyStore, "find" | "limitsReset">;
  readonly limiter: Pick<Limiter, "reset">;
}

/**
 * Empties the windows of a key's own limits. The change feed tells all other processes and the watching clients, which
 * then forget the denials that they remember. So a process that does not get the news may deny for up to 5 s more.
 * The limits that calling services named for the key stay, because they belong to those services.
 *
 * A process that decided alone, because Redis was unreachable in the last minute, still adds what it admitted.
 *
 * On DATABASE_UNAVAILABLE the caller should reset again: the windows may be empty, but the audit trail has no record.
 *
 * @throws KEY_NOT_FOUND; LIMITS_UNAVAILABLE when nothing was reset; DATABASE_UNAVAILABLE
 */
export async function resetRateLimits(deps: ResetRateLimitsDeps, input: OneKeyInput): Promise<void> {
  const { key } = await findKey(deps, input);
  await deps.limiter.reset(keySubject(key.id), []);
  // Afterwards: a process that forgets a denial before the windows are empty would soon remember it again.
  await deps.store.limitsReset(key.id, entryOf(input.by, "key.limits_reset"));
}
