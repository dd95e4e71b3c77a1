import type { KnownActor } from "../../audit/actor.ts";
import type { DatabaseClock } from "../../changes/database-clock.ts";
import { DomainError } from "../../lib/errors.ts";
import { type ChangeKeyDeps, entryOf, retryConflicts } from "../change-key.ts";
import { type Key, keyState } from "../key.ts";
import { checkReason } from "../revoke-key.ts";
import { getCredential } from "./service-credential.ts";

export interface RevokeServiceCredentialDeps extends ChangeKeyDeps {
  readonly databaseClock: DatabaseClock;
}

export interface RevokeServiceCredentialInput {
  readonly by: KnownActor;
  readonly credentialId: string;
  readonly reason: string;
}

/**
 * Ends a credential permanently. Idempotent.
 *
 * @throws SERVICE_CREDENTIAL_NOT_FOUND, LAST_ADMIN_CREDENTIAL for the last usable credential with the scope `admin`,
 *   INVALID_FIELD, DATABASE_UNAVAILABLE
 */
export async function revokeServiceCredential(
  deps: RevokeServiceCredentialDeps,
  input: RevokeServiceCredentialInput,
): Promise<Key> {
  checkReason(input.reason);
  return retryConflicts(async () => {
    const { key } = await getCredential(deps.store, input.credentialId);
    if (key.state === "revoked") {
      deps.store.unchanged(key);
      return key;
    }
    const isUsableAdmin = key.scopes.includes("admin") && keyState(key, deps.databaseClock.nowMs()) === "active";
    const changes = { state: "revoked" as const, revokeReason: input.reason };
    const keepScope = isUsableAdmin ? "admin" : undefined;
    const entry = entryOf(input.by, "credential.revoked", { reason: input.reason });
    const outcome = await deps.store.change(key.id, key.version, changes, entry, keepScope);
    switch (outcome.kind) {
      case "changed":
        return outcome.key;
      case "conflict":
        return "again";
      case "last_of_scope":
        throw new DomainError(
          "LAST_ADMIN_CREDENTIAL",
          "this is the last usable admin credential; issue another one before you revoke it",
        );
      default:
        return outcome satisfies never;
    }
  });
}
