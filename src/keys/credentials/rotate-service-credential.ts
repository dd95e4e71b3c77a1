import type { Actor } from "../../audit/actor.ts";
import { type RotatedKey, type RotateKeyDeps, type RotateKeyInput, rotate } from "../rotate-key.ts";
import { getCredential } from "./service-credential.ts";

/**
 * Gives a service credential one more secret; its id and scopes stay.
 *
 * @throws SERVICE_CREDENTIAL_NOT_FOUND, and all other reasons of rotateKey
 */
export function rotateServiceCredential(deps: RotateKeyDeps, actor: Actor, input: RotateKeyInput): Promise<RotatedKey> {
  return rotate(deps, actor, input, "credential.rotated", () => getCredential(deps.store, input.keyId));
}
