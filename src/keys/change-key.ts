import type { Actor } from "../audit/actor.ts";
import type { AuditEntry, AuditKind } from "../audit/audit-event.ts";
import { DomainError } from "../lib/errors.ts";
import { isId } from "../lib/id.ts";
import { keyNotFound, mayManage } from "./grants.ts";
import type { Key, KeyOwner } from "./key.ts";
import type { KeyChanges, KeyEntry, KeyStore } from "./key-store.ts";

export interface FindKeyDeps {
  readonly store: Pick<KeyStore, "find">;
}

export interface ChangeKeyDeps {
  readonly store: Pick<KeyStore, "find" | "change" | "unchanged">;
}

/** A key as management shows it: effective limits follow from the owner's grant too. */
export interface OwnedKey {
  readonly key: Key;
  readonly owner: KeyOwner | undefined;
}

/** How often a decision is taken anew because another change of the same key came first. */
const MAX_ATTEMPTS = 5;

/** An API key that the actor may manage. @throws KEY_NOT_FOUND, the same for unknown ids and other owners' keys */
export async function findKey(deps: FindKeyDeps, actor: Actor, keyId: string): Promise<OwnedKey> {
  const found = isId("key", keyId) ? await deps.store.find("api", keyId) : undefined;
  if (found === undefined) throw keyNotFound();
  if (!mayManage(actor, found.key)) throw keyNotFound({ isAnothers: true });
  return found;
}

/**
 * Reads a key, decides on what it is, and changes it if it still is that; else from the start. `decide` answers
 * undefined if nothing is to be changed.
 *
 * @throws KEY_NOT_FOUND, CONTENTION, DATABASE_UNAVAILABLE, and what `decide` throws
 */
export async function changeKey(
  deps: ChangeKeyDeps,
  actor: Actor,
  keyId: string,
  decide: (found: OwnedKey) => { readonly changes: KeyChanges; readonly entry: KeyEntry } | undefined,
): Promise<OwnedKey> {
  return retryConflicts(async () => {
    const found = await findKey(deps, actor, keyId);
    const decision = decide(found);
    if (decision === undefined) {
      deps.store.unchanged(found.key);
      return found;
    }
    const outcome = await deps.store.change(keyId, found.key.version, decision.changes, decision.entry);
    return outcome.kind === "conflict" ? undefined : { key: outcome.key, owner: found.owner };
  });
}

/** What is put on record of an actor's change to a key. */
export function entryOf(actor: Actor, kind: AuditKind, details?: AuditEntry["details"]): KeyEntry {
  const session = actor.kind === "user" ? { sessionId: actor.sessionId } : {};
  return { kind, actorId: actor.id, clientIp: actor.clientIp, ...session, ...(details && { details }) };
}

/** Runs `attempt` until it answers something, at most five times. @throws CONTENTION */
export async function retryConflicts<T>(attempt: () => Promise<T | undefined>): Promise<T> {
  for (let n = 0; n < MAX_ATTEMPTS; n++) {
    const result = await attempt();
    if (result !== undefined) return result;
  }
  throw new DomainError("CONTENTION", "too many concurrent changes; try again", { retryAfterMs: 100 });
}
