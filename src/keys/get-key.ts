import { type FindKeyDeps, findKey, type OneKeyInput, type OwnedKey } from "./change-key.ts";

/** Reads one key. @throws KEY_NOT_FOUND, DATABASE_UNAVAILABLE */
export function getKey(deps: FindKeyDeps, input: OneKeyInput): Promise<OwnedKey> {
  return findKey(deps, input);
}
