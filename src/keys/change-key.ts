import { actedBy, type KnownActor } from "../audit/actor.ts";
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

/** A key with its owner, as management shows it: the effective limits depend on the owner's grant too. */
export interface OwnedKey {
  readonly key: Key;
  readonly owner: KeyOwner | undefined;
}

/** The input of a verb on one key. */
export interface OneKeyInput {
  readonly by: KnownActor;
  readonly keyId: string;
}

/** Maximum attempts of a change. An attempt fails if another change of the same key came first. */
const MAX_ATTEMPTS = 5;

/** Finds an API key that the actor may manage. @throws KEY_NOT_FOUND for unknown ids and for keys of other owners */
export async function findKey(deps: FindKeyDeps, { by, keyId }: OneKeyInput): Promise<OwnedKey> {
  const found = isId("key", keyId) ? await deps.store.find("api", keyId) : undefined;
  if (found === undefined) throw keyNotFound();
  if (!mayManage(by, found.key)) throw keyNotFound({ isAnothers: true });
  return found;
}

/**
 * Changes a key by compare-and-set (optimistic locking): it reads the key, decides, and writes only if the key still
 * has the version that it read. Otherwise it starts again.
 *
 * @param decide returns undefined if there is nothing to change
 * @throws KEY_NOT_FOUND, CONTENTION, DATABASE_UNAVAILABLE, and what `decide` throws
 */
export async function changeKey(
  deps: ChangeKeyDeps,
  input: OneKeyInput,
  decide: (found: OwnedKey) => { readonly changes: KeyChanges; readonly entry: KeyEntry } | undefined,
): Promise<OwnedKey> {
  return retryConflicts(async () => {
    const found = await findKey(deps, input);
    const decision = decide(found);
    if (decision === undefined) {
      deps.store.unchanged(found.key);
      return found;
    }
    const outcome = await deps.store.change(input.keyId, found.key.version, decision.changes, decision.entry);
    return outcome.kind === "conflict" ? "again" : { key: outcome.key, owner: found.owner };
  });
}

/** The audit entry of an actor's change to a key. */
export function entryOf(actor: KnownActor, kind: AuditKind, details?: AuditEntry["details"]): KeyEntry {
  const session = actor.kind === "user" ? { sessionId: actor.sessionId } : {};
  return { kind, ...actedBy(actor), ...session, ...(details && { details }) };
}

/** Runs `attempt` until its result is not "again", at most MAX_ATTEMPTS times. @throws CONTENTION */
export async function retryConflicts<T extends object>(attempt: () => Promise<T | "again">): Promise<T> {
  for (let n = 0; n < MAX_ATTEMPTS; n++) {
    const result = await attempt();
    if (result !== "again") return result;
  }
  throw new DomainError("CONTENTION", "too many concurrent changes; try again", { retryAfterMs: 100 });
}
