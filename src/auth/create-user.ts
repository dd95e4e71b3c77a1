import type { Actor } from "../audit/actor.ts";
import { invalidFields, type Violation } from "../lib/errors.ts";
import { newId } from "../lib/id.ts";
import type { KeyRing } from "../lib/key-ring.ts";
import { textViolation } from "../lib/text.ts";
import { parseNewEmail, requireEmail } from "./email.ts";
import { type AccountDefaults, emailTaken } from "./register.ts";
import { newResetToken } from "./tokens/reset-token.ts";
import { DISPLAY_NAME_RULE, type User } from "./user.ts";
import { scopesViolation, tierViolation } from "./user-grants.ts";
import type { UserStore } from "./user-store.ts";

export interface CreateUserDeps {
  readonly users: Pick<UserStore, "create">;
  readonly ring: KeyRing;
  readonly keyPrefix: string;
  readonly accountDefaults: AccountDefaults;
  /** Names of the configured tiers. */
  readonly tierNames: readonly string[];
}

export interface CreateUserInput {
  readonly email: string;
  readonly displayName: string;
  /** Empty for the default. */
  readonly tier: string;
  /** Empty for the default. */
  readonly scopes: readonly string[];
  readonly by: Actor;
}

export interface CreatedUser {
  readonly user: User;
  /** For CompletePasswordReset. It is not stored. */
  readonly resetToken: string;
  readonly resetExpiresAtMs: number;
}

/** Creates an account without a password, and a one-time token that sets one. @throws INVALID_FIELD, EMAIL_TAKEN */
export async function createUser(deps: CreateUserDeps, input: CreateUserInput): Promise<CreatedUser> {
  const email = requireEmail("email", input.email, parseNewEmail);
  const violations: (Violation | undefined)[] = [
    textViolation("display_name", input.displayName, DISPLAY_NAME_RULE),
    input.tier === "" ? undefined : tierViolation("tier", input.tier, deps.tierNames),
    scopesViolation("scopes", input.scopes),
  ];
  const found = violations.filter((violation) => violation !== undefined);
  if (found.length > 0) throw invalidFields(found);
  const reset = newResetToken(deps.ring, deps.keyPrefix);
  const created = await deps.users.create({
    user: {
      id: newId("usr"),
      email: email.address,
      emailNormalized: email.normalized,
      displayName: input.displayName,
      tier: input.tier === "" ? deps.accountDefaults.tier : input.tier,
      scopes: input.scopes.length === 0 ? deps.accountDefaults.scopes : input.scopes,
    },
    reset: reset.kept,
    by: input.by,
  });
  if (created === undefined) throw emailTaken();
  return { ...created, resetToken: reset.token };
}
