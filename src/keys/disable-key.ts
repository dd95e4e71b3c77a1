import type { Actor } from "../audit/actor.ts";
import type { DatabaseClock } from "../changes/database-clock.ts";
import { type ChangeKeyDeps, changeKey, entryOf, type OwnedKey } from "./change-key.ts";
import { keyEnded } from "./grants.ts";
import { hasEnded } from "./key.ts";

export interface DisableKeyDeps extends ChangeKeyDeps {
  readonly databaseClock: DatabaseClock;
}

/**
 * Refuses the key until it is enabled again. Done twice it changes nothing, but that a service's word replaces the
 * owner's: then only a service can undo it.
 *
 * @throws KEY_NOT_FOUND, KEY_ENDED, DATABASE_UNAVAILABLE
 */
export function disableKey(deps: DisableKeyDeps, actor: Actor, keyId: string): Promise<OwnedKey> {
  return changeKey(deps, actor, keyId, ({ key }) => {
    if (hasEnded(key, deps.databaseClock.nowMs())) throw keyEnded();
    const isSettled = key.state === "disabled" && (actor.kind === "user" || isByService(key.disabledBy));
    if (isSettled) return undefined;
    return { changes: { state: "disabled", disabledBy: actor.id }, entry: entryOf(actor, "key.disabled") };
  });
}

/** Whether the id of who disabled a key is a service credential's. */
export function isByService(disabledBy: string | undefined): boolean {
  return disabledBy?.startsWith("svc_") ?? false;
}
