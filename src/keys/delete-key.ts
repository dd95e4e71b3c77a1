import { type ChangeKeyDeps, changeKey, entryOf, type OneKeyInput } from "./change-key.ts";

/**
 * Revokes a key and erases the texts of its owner: name, description and metadata. No read or list finds the key
 * afterwards. The row stays for the audit trail and for the quota.
 *
 * @throws KEY_NOT_FOUND, DATABASE_UNAVAILABLE
 */
export async function deleteKey(deps: ChangeKeyDeps, input: OneKeyInput): Promise<void> {
  await changeKey(deps, input, () => ({
    changes: { state: "revoked", name: "", description: "", metadata: {}, deleted: true },
    entry: entryOf(input.by, "key.deleted"),
  }));
}
