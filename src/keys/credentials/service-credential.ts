/**
 * SERVICE CREDENTIALS. Services and operators authenticate with them. A credential is a key of kind `service`, with the
 * format, table, digest, cache and rotation of API keys. Its scopes come from a closed set.
 *
 *   service-credential.ts            what a credential is, and how it is judged
 *   issue-service-credential.ts, list-service-credentials.ts, update-service-credential.ts,
 *   rotate-service-credential.ts, revoke-service-credential.ts
 *                                    one verb each, for operators
 *   certificate-names.ts             the names of client certificates on a credential's list
 *   certificate-credentials.ts       credentials by those names, from memory or by one read
 *   bootstrap-operator.ts            issues the credential of the first operator
 *
 * The folder knows nothing of users, tiers or limits.
 */
import { DomainError } from "../../lib/errors.ts";
import { isId } from "../../lib/id.ts";
import type { OwnedKey } from "../change-key.ts";
import { type Key, type KeyState, keyState } from "../key.ts";
import { type KeyFormat, parseKey, SERVICE_ENVIRONMENT } from "../key-form.ts";
import type { KeyRecord, KeyRecords, RecordLookup } from "../key-records.ts";
import type { KeyStore } from "../key-store.ts";

export const CREDENTIAL_SCOPES = ["verify", "manage", "admin"] as const;
export type CredentialScope = (typeof CREDENTIAL_SCOPES)[number];

/** Whether the text has the prefix of a service credential, so that it can't be anything else. */
export function looksLikeCredential(format: KeyFormat, text: string): boolean {
  return text.startsWith(`${format.prefix}_${SERVICE_ENVIRONMENT}_`);
}

export interface OpenCredentialDeps {
  readonly records: Pick<KeyRecords, "lookup">;
  readonly format: KeyFormat;
}

/**
 * The lookup for the record of a presented credential; undefined for a text that does not have the form of a
 * credential. The caller must judge the record at each call: see credentialFault.
 */
export function openCredential(deps: OpenCredentialDeps, raw: string): RecordLookup | undefined {
  const parsed = parseKey(deps.format, raw);
  return parsed?.kind === "service" ? deps.records.lookup(raw, parsed.keyId) : undefined;
}

/** The facts by which a presented credential is judged. */
export type PresentedCredential = Pick<KeyRecord, "key" | "secretExpiresAtMs">;

/** Why a credential is refused although its secret is right. */
export type CredentialFault = Exclude<KeyState, "active"> | "rotated_away";

/** The fault of a credential at a time of the database's clock; undefined = it is valid. */
export function credentialFault(record: PresentedCredential, nowMs: number): CredentialFault | undefined {
  const state = keyState(record.key, nowMs);
  if (state !== "active") return state;
  return record.secretExpiresAtMs === undefined || record.secretExpiresAtMs > nowMs ? undefined : "rotated_away";
}

export function credentialNotFound(): DomainError {
  return new DomainError("SERVICE_CREDENTIAL_NOT_FOUND", "no such service credential");
}

/** Reads one credential, for management. @throws SERVICE_CREDENTIAL_NOT_FOUND */
export async function getCredential(store: Pick<KeyStore, "find">, credentialId: string): Promise<OwnedKey> {
  const found = isId("svc", credentialId) ? await store.find("service", credentialId) : undefined;
  if (found === undefined) throw credentialNotFound();
  return found;
}

/** The scopes of a credential that belong to the closed set. */
export function credentialScopes(key: Key): CredentialScope[] {
  return CREDENTIAL_SCOPES.filter((scope) => key.scopes.includes(scope));
}
