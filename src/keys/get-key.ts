import type { Actor } from "../audit/actor.ts";
import { type FindKeyDeps, findKey, type OwnedKey } from "./change-key.ts";

/** Reads one key. @throws KEY_NOT_FOUND, DATABASE_UNAVAILABLE */
export function getKey(deps: FindKeyDeps, actor: Actor, keyId: string): Promise<OwnedKey> {
  return findKey(deps, actor, keyId);
}
