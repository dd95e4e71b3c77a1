import type { SigningKeyRecord } from "./signing-key.ts";
import type { SigningKeyStore } from "./signing-key-store.ts";

export interface ListSigningKeysDeps {
  readonly store: Pick<SigningKeyStore, "history">;
}

/** Lists signing keys in every state, newest first. @throws DATABASE_UNAVAILABLE */
export function listSigningKeys(deps: ListSigningKeysDeps): Promise<readonly SigningKeyRecord[]> {
  return deps.store.history();
}
