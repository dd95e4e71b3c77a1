import { invalidFields } from "../lib/errors.ts";
import { textViolation } from "../lib/text.ts";
import { type ChangeKeyDeps, changeKey, entryOf, type OneKeyInput, type OwnedKey } from "./change-key.ts";

export interface RevokeKeyInput extends OneKeyInput {
  readonly reason: string;
}

/** Ends a key permanently. Idempotent. @throws KEY_NOT_FOUND, INVALID_FIELD, DATABASE_UNAVAILABLE */
export function revokeKey(deps: ChangeKeyDeps, input: RevokeKeyInput): Promise<OwnedKey> {
  checkReason(input.reason);
  return changeKey(deps, input, ({ key }) => {
    if (key.state === "revoked") return undefined;
    const { by, reason } = input;
    return { changes: { state: "revoked", revokeReason: reason }, entry: entryOf(by, "key.revoked", { reason }) };
  });
}

/** @throws INVALID_FIELD */
export function checkReason(reason: string): void {
  const violation = textViolation("reason", reason, { min: 0, max: 256 });
  if (violation !== undefined) throw invalidFields([violation]);
}
