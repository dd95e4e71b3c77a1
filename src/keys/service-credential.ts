import { DomainError } from "../lib/errors.ts";
import { isId } from "../lib/id.ts";
import type { OwnedKey } from "./change-key.ts";
import { type Key, type KeyState, keyState } from "./key.ts";
import type { KeyRecord, KeyRecords, RecordLookup } from "./key-records.ts";
import { type KeyFormat, parseKey, SERVICE_ENVIRONMENT } from "./key-secret.ts";
import type { KeyStore } from "./key-store.ts";

/*
 * Service credentials: what services and operators authenticate with. A credential is a key of kind `service` whose
 * scopes come from a closed set.
 */

export const CREDENTIAL_SCOPES = ["verify", "manage", "admin"] as const;
export type CredentialScope = (typeof CREDENTIAL_SCOPES)[number];

/** Whether the text looks like a service credential, so that it is one or nothing. */
export function looksLikeCredential(format: KeyFormat, text: string): boolean {
  return text.startsWith(`${format.prefix}_${SERVICE_ENVIRONMENT}_`);
}

export interface OpenCredentialDeps {
  readonly records: Pick<KeyRecords, "lookup">;
  readonly format: KeyFormat;
}

/**
 * Where the record of a presented credential is found; undefined for what can't be one by its form. The record's state
 * is still to be judged, on every call: see credentialFault.
 */
export function openCredential(deps: OpenCredentialDeps, raw: string): RecordLookup | undefined {
  const parsed = parseKey(deps.format, raw);
  return parsed?.kind === "service" ? deps.records.lookup(raw, parsed.keyId) : undefined;
}

/** Why a credential whose secret was shown is no good. */
export type CredentialFault = Exclude<KeyState, "active"> | "rotated_away";

/** What is wrong with the credential at this time, by the database's clock; undefined: it is good. */
export function credentialFault(record: KeyRecord, nowMs: number): CredentialFault | undefined {
  const state = keyState(record.key, nowMs);
  if (state !== "active") return state;
  return record.secretExpiresAtMs === undefined || record.secretExpiresAtMs > nowMs ? undefined : "rotated_away";
}

export function credentialNotFound(): DomainError {
  return new DomainError("SERVICE_CREDENTIAL_NOT_FOUND", "no such service credential");
}

/** One credential, for management. @throws SERVICE_CREDENTIAL_NOT_FOUND */
export async function getCredential(store: Pick<KeyStore, "find">, credentialId: string): Promise<OwnedKey> {
  const found = isId("svc", credentialId) ? await store.find("service", credentialId) : undefined;
  if (found === undefined) throw credentialNotFound();
  return found;
}

/** The scopes of a credential, as the closed set. */
export function credentialScopes(key: Key): CredentialScope[] {
  return CREDENTIAL_SCOPES.filter((scope) => key.scopes.includes(scope));
}
