import type { Actor } from "../audit/actor.ts";
import { invalidFields } from "../lib/errors.ts";
import { isId } from "../lib/id.ts";
import { textViolation } from "../lib/text.ts";
import { userNotFound } from "./get-user.ts";
import { DISPLAY_NAME_RULE, type User } from "./user.ts";
import { scopesViolation, tierViolation } from "./user-grants.ts";
import type { UserPatch, UserStore } from "./user-store.ts";

export interface UpdateUserDeps {
  readonly users: Pick<UserStore, "update">;
  /** Names of the configured tiers. */
  readonly tierNames: readonly string[];
}

export interface UpdateUserInput {
  readonly userId: string;
  readonly patch: UserPatch;
  readonly by: Actor;
}

/**
 * Changes the fields of an account that operators decide. A lower tier or fewer scopes apply to existing keys too: each
 * call judges a key by the lower of its own grant and its owner's.
 *
 * @throws INVALID_FIELD, USER_NOT_FOUND
 */
export async function updateUser(deps: UpdateUserDeps, input: UpdateUserInput): Promise<User> {
  const { displayName, tier, scopes } = input.patch;
  const violations = [
    displayName === undefined ? undefined : textViolation("user.display_name", displayName, DISPLAY_NAME_RULE),
    tier === undefined ? undefined : tierViolation("user.tier", tier, deps.tierNames),
    scopes === undefined ? undefined : scopesViolation("user.scopes", scopes),
  ].filter((violation) => violation !== undefined);
  if (violations.length > 0) throw invalidFields(violations);
  if (!isId("usr", input.userId)) throw userNotFound();
  const user = await deps.users.update({ id: input.userId, patch: input.patch, by: input.by });
  if (user === undefined) throw userNotFound();
  return user;
}
