import type { DatabaseClock } from "../changes/database-clock.ts";
import { type ChangeKeyDeps, changeKey, entryOf, type OneKeyInput, type OwnedKey } from "./change-key.ts";
import { keyEnded } from "./grants.ts";
import { hasEnded } from "./key.ts";

export interface DisableKeyDeps extends ChangeKeyDeps {
  readonly databaseClock: DatabaseClock;
}

/**
 * Disables a key: it is refused until it is enabled again. Disabling it twice changes nothing, with one exception: if a
 * service disables a key that its owner disabled, only a service can enable it again.
 *
 * @throws KEY_NOT_FOUND, KEY_ENDED, DATABASE_UNAVAILABLE
 */
export function disableKey(deps: DisableKeyDeps, input: OneKeyInput): Promise<OwnedKey> {
  const { by } = input;
  return changeKey(deps, input, ({ key }) => {
    if (hasEnded(key, deps.databaseClock.nowMs())) throw keyEnded();
    const isSettled = key.state === "disabled" && (by.kind === "user" || isByService(key.disabledBy));
    if (isSettled) return undefined;
    return { changes: { state: "disabled", disabledBy: by.id }, entry: entryOf(by, "key.disabled") };
  });
}

/** Whether a service credential disabled the key. */
export function isByService(disabledBy: string | undefined): boolean {
  return disabledBy?.startsWith("svc_") ?? false;
}
