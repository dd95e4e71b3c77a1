import { DomainError } from "../lib/errors.ts";
import { changeKey, entryOf, type OneKeyInput, type OwnedKey } from "./change-key.ts";
import { type DisableKeyDeps, isByService } from "./disable-key.ts";
import { keyEnded } from "./grants.ts";
import { hasEnded } from "./key.ts";

/**
 * Enables a disabled key. @throws KEY_NOT_FOUND, KEY_ENDED, KEY_RESTRICTED if a service disabled it,
 * DATABASE_UNAVAILABLE
 */
export function enableKey(deps: DisableKeyDeps, input: OneKeyInput): Promise<OwnedKey> {
  const { by } = input;
  return changeKey(deps, input, ({ key }) => {
    if (hasEnded(key, deps.databaseClock.nowMs())) throw keyEnded();
    if (key.state === "active") return undefined;
    if (by.kind === "user" && isByService(key.disabledBy)) {
      throw new DomainError("KEY_RESTRICTED", "a service disabled this key: only a service can enable it");
    }
    return { changes: { state: "active", disabledBy: null }, entry: entryOf(by, "key.enabled") };
  });
}
