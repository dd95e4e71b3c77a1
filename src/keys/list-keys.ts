import type { Actor } from "../audit/actor.ts";
import { DomainError, invalidField } from "../lib/errors.ts";
import { isId } from "../lib/id.ts";
import type { KeyPage, KeyStore, PageCursor } from "./key-store.ts";

export interface ListKeysDeps {
  readonly store: Pick<KeyStore, "list">;
}

export interface ListKeysInput {
  /** Empty: a user's own keys, or all keys for a service. */
  readonly ownerId: string;
  readonly showEnded: boolean;
  readonly size: number;
  readonly after: PageCursor | undefined;
}

/**
 * Lists keys, newest first.
 *
 * @throws OWNER_NOT_ALLOWED for a user who requests another user's keys; INVALID_FIELD; DATABASE_UNAVAILABLE
 */
export function listKeys(deps: ListKeysDeps, actor: Actor, input: ListKeysInput): Promise<KeyPage> {
  if (actor.kind === "user" && input.ownerId !== "" && input.ownerId !== actor.id) {
    throw new DomainError("OWNER_NOT_ALLOWED", "users may list only their own keys");
  }
  if (input.ownerId !== "" && !isId("usr", input.ownerId))
    throw invalidField("owner_id", "must be a user's id, or empty");
  const ownerId = actor.kind === "user" ? actor.id : input.ownerId;
  const filter = { kind: "api" as const, ownerId: ownerId === "" ? undefined : ownerId, showEnded: input.showEnded };
  return deps.store.list(filter, input.size, input.after);
}
