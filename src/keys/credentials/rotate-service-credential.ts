import { type RotatedKey, type RotateKeyDeps, type RotateKeyInput, rotate } from "../rotate-key.ts";
import { getCredential } from "./service-credential.ts";

export interface RotateServiceCredentialInput extends Omit<RotateKeyInput, "keyId"> {
  readonly credentialId: string;
}

/**
 * Gives a service credential one more secret; its id and scopes stay.
 *
 * @throws SERVICE_CREDENTIAL_NOT_FOUND, and all other reasons of rotateKey
 */
export function rotateServiceCredential(
  deps: RotateKeyDeps,
  { credentialId, ...rest }: RotateServiceCredentialInput,
): Promise<RotatedKey> {
  const input = { ...rest, keyId: credentialId };
  return rotate(deps, input, "credential.rotated", () => getCredential(deps.store, credentialId));
}
