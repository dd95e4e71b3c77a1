import { isDeepStrictEqual } from "node:util";
import type { KnownActor } from "../../audit/actor.ts";
import type { DatabaseClock } from "../../changes/database-clock.ts";
import { DomainError } from "../../lib/errors.ts";
import { entryOf, retryConflicts } from "../change-key.ts";
import { keyEnded } from "../grants.ts";
import { hasEnded, type Key, keyEtag } from "../key.ts";
import { checkKeyFields } from "../key-fields.ts";
import type { CredentialChanges, KeyStore } from "../key-store.ts";
import { checkCertificateNames, namesDetails, nameTaken } from "./certificate-names.ts";
import { getCredential } from "./service-credential.ts";

export interface UpdateServiceCredentialDeps {
  readonly store: Pick<KeyStore, "find" | "changeCredential" | "unchanged">;
  readonly databaseClock: DatabaseClock;
}

export interface UpdateServiceCredentialInput {
  readonly by: KnownActor;
  readonly credentialId: string;
  /** The fields to change, by their paths in the contract. Absent fields stay as they are. */
  readonly update: { readonly name?: string; readonly certificate_names?: readonly string[] };
  /** Empty for an unconditional update. */
  readonly etag: string;
}

/**
 * Changes fields of a credential. An update that changes no value writes nothing.
 *
 * @throws SERVICE_CREDENTIAL_NOT_FOUND, KEY_ENDED, ETAG_MISMATCH, INVALID_FIELD, CERTIFICATE_NAME_TAKEN, CONTENTION,
 *   DATABASE_UNAVAILABLE
 */
export async function updateServiceCredential(
  deps: UpdateServiceCredentialDeps,
  { by, credentialId, update, etag }: UpdateServiceCredentialInput,
): Promise<Key> {
  const { name, certificate_names: names } = update;
  const nowMs = deps.databaseClock.nowMs();
  if (name !== undefined) checkKeyFields({ name }, nowMs, "credential.");
  const wanted: CredentialChanges = {
    ...(name !== undefined && { name }),
    ...(names && { certificateNames: checkCertificateNames("credential.certificate_names", names) }),
  };
  return retryConflicts(async () => {
    const { key } = await getCredential(deps.store, credentialId);
    if (etag !== "" && etag !== keyEtag(key)) {
      throw new DomainError("ETAG_MISMATCH", "the credential changed since it was read; read it again");
    }
    if (hasEnded(key, deps.databaseClock.nowMs())) throw keyEnded();
    const changes = differing(key, wanted);
    if (Object.keys(changes).length === 0) {
      deps.store.unchanged(key);
      return key;
    }
    const entry = entryOf(by, "credential.updated", detailsOf(key, changes));
    const outcome = await deps.store.changeCredential(key.id, key.version, changes, entry);
    switch (outcome.kind) {
      case "changed":
        return outcome.key;
      case "conflict":
        return "again";
      case "name_taken":
        throw nameTaken(outcome);
      default:
        return outcome satisfies never;
    }
  });
}

/** The changes that differ from the credential. */
function differing(key: Key, changes: CredentialChanges): CredentialChanges {
  const isOther = ([name, value]: [string, unknown]) => !isDeepStrictEqual(key[name as keyof Key], value);
  return Object.fromEntries(Object.entries(changes).filter(isOther));
}

function detailsOf(key: Key, { name, certificateNames }: CredentialChanges): Record<string, string> {
  const fields = [...(name === undefined ? [] : ["name"]), ...(certificateNames ? ["certificate_names"] : [])];
  return {
    fields: fields.join(","),
    ...(certificateNames && {
      ...namesDetails("certificate_names_before", key.certificateNames),
      ...namesDetails("certificate_names_after", certificateNames),
    }),
  };
}
