import type { KnownActor } from "../audit/actor.ts";
import { DomainError, invalidField } from "../lib/errors.ts";
import { isId } from "../lib/id.ts";
import type { PagePosition } from "../lib/page.ts";
import type { KeyPage, KeyStore } from "./key-store.ts";

export interface ListKeysDeps {
  readonly store: Pick<KeyStore, "list">;
}

export interface ListKeysInput {
  readonly by: KnownActor;
  /** Empty: a user's own keys, or all keys for a service. */
  readonly ownerId: string;
  readonly showEnded: boolean;
  readonly size: number;
  readonly after: PagePosition | undefined;
}

/**
 * Lists keys, newest first.
 *
 * @throws OWNER_NOT_ALLOWED for a user who requests another user's keys; INVALID_FIELD; DATABASE_UNAVAILABLE
 */
export function listKeys(deps: ListKeysDeps, input: ListKeysInput): Promise<KeyPage> {
  const { by } = input;
  if (by.kind === "user" && input.ownerId !== "" && input.ownerId !== by.id) {
    throw new DomainError("OWNER_NOT_ALLOWED", "users may list only their own keys");
  }
  if (input.ownerId !== "" && !isId("usr", input.ownerId))
    throw invalidField("owner_id", "must be a user's id, or empty");
  const ownerId = by.kind === "user" ? by.id : input.ownerId;
  const filter = { kind: "api" as const, ownerId: ownerId === "" ? undefined : ownerId, showEnded: input.showEnded };
  return deps.store.list(filter, input.size, input.after);
}
