import type { Actor } from "../audit/actor.ts";
import { type ChangeKeyDeps, changeKey, entryOf } from "./change-key.ts";

/**
 * Revokes a key and erases what its owner wrote about it. From then on it can't be found; the row stays for the audit
 * trail and for the quota. @throws KEY_NOT_FOUND, DATABASE_UNAVAILABLE
 */
export async function deleteKey(deps: ChangeKeyDeps, actor: Actor, keyId: string): Promise<void> {
  await changeKey(deps, actor, keyId, () => ({
    changes: { state: "revoked", name: "", description: "", metadata: {}, deleted: true },
    entry: entryOf(actor, "key.deleted"),
  }));
}
