import type { AuthenticatedUser } from "../auth/authenticate-user.ts";
import type { DatabaseClock } from "../changes/database-clock.ts";
import type { Loaded } from "../changes/record-cache.ts";
import type { KeyRecord } from "../keys/key-records.ts";
import { credentialScopes, isUsableCredential } from "../keys/service-credential.ts";
import { DomainError } from "../lib/errors.ts";
import type { Caller, CallHead } from "./call.ts";

export interface ResolveCallerDeps {
  /** Whether the text looks like a service credential, and so is one or nothing. */
  readonly looksLikeCredential: (token: string) => boolean;
  /** The record of a service credential, its state not yet judged; undefined for none. */
  readonly findCredential: (token: string) => Promise<Loaded<KeyRecord> | undefined>;
  /** The user behind an access token. Throws CREDENTIAL_INVALID. */
  readonly authenticateUser: (token: string) => Promise<AuthenticatedUser>;
  readonly databaseClock: DatabaseClock;
  /** Notes that a service credential was used. */
  readonly used: (credentialId: string, atMs: number) => void;
}

const ANONYMOUS: Caller = Object.freeze({ kind: "anonymous" });
/** Longest credential that is looked at: an access token has about 500 characters. */
const MAX_CREDENTIAL_LENGTH = 4096;
/** RFC 9110 11.4: the scheme's case does not matter. */
const BEARER = /^bearer +([\x21-\x7e]+) *$/i;

/**
 * Who makes a call, from its headers, judged anew at every call. A truth that is out of reach is never an invalid
 * credential.
 *
 * @throws CREDENTIAL_INVALID, DATABASE_UNAVAILABLE, MASTER_KEY_MISSING
 */
export async function resolveCaller(deps: ResolveCallerDeps, head: Pick<CallHead, "header">): Promise<Caller> {
  const values = head.header("authorization");
  if (values.length === 0) return ANONYMOUS;
  if (values.length > 1) throw invalid("more than one authorization header");
  const value = values[0]!;
  const token = value.length <= MAX_CREDENTIAL_LENGTH ? BEARER.exec(value)?.[1] : undefined;
  if (token === undefined) throw invalid("the authorization header must be `Bearer` and a credential");
  return deps.looksLikeCredential(token) ? resolveService(deps, token) : resolveUser(deps, token);
}

async function resolveService(deps: ResolveCallerDeps, token: string): Promise<Caller> {
  const record = (await deps.findCredential(token))?.record;
  const nowMs = deps.databaseClock.nowMs();
  if (record === undefined || !isUsableCredential(record, nowMs)) throw invalid("the service credential is not valid");
  deps.used(record.key.id, nowMs);
  return { kind: "service", credentialId: record.key.id, scopes: credentialScopes(record.key) };
}

async function resolveUser(deps: ResolveCallerDeps, token: string): Promise<Caller> {
  const { userId, sessionId } = await deps.authenticateUser(token);
  return { kind: "user", userId, sessionId };
}

function invalid(message: string): DomainError {
  return new DomainError("CREDENTIAL_INVALID", message);
}
