import { isDeepStrictEqual } from "node:util";
import { actedBy } from "../../audit/actor.ts";
import type { GrantedSession } from "../../auth/session.ts";
import type { User, UserSecrets } from "../../auth/user.ts";
import type { UserPatch, UserStore } from "../../auth/user-store.ts";
import type { ManagedDatabase } from "../database.ts";
import { isUniqueViolation } from "../errors/driver-errors.ts";
import { changeAccess, lockUser, tokenDetails } from "../rows/account-access.ts";
import { isAfter } from "../rows/page-order.ts";
import { insertReset } from "../rows/password-reset-rows.ts";
import { beginSessionOf } from "../rows/session-rows.ts";
import { insertUser, toUser, toUserSecrets } from "../rows/user-rows.ts";
import { UserRow } from "../tables.ts";
import { emailLock, userLock } from "../transactions/locks.ts";
import type { Transaction } from "../transactions/transaction.ts";

/** Names of the fields in the contract. */
const FIELD_NAMES: Readonly<Record<keyof UserPatch, string>> = {
  displayName: "display_name",
  tier: "tier",
  scopes: "scopes",
};

const FIELDS = Object.keys(FIELD_NAMES) as (keyof UserPatch)[];

type Input<M extends keyof UserStore> = Parameters<UserStore[M]>[0];

export class PostgresUserStore implements UserStore {
  readonly #database: ManagedDatabase;

  constructor(database: ManagedDatabase) {
    this.#database = database;
  }

  register(input: Input<"register">): Promise<{ user: User; session: GrantedSession } | undefined> {
    return this.#unlessTaken(input.user, async (tx) => {
      const row = insertUser(tx, input.user, input.passwordHash);
      await tx.em.flush();
      const entry = { actorId: row.id, clientIp: input.session.clientIp, subjectId: row.id };
      await tx.record({ ...entry, kind: "user.registered", details: grantOf(toUser(row)) });
      return { user: toUser(row), session: await beginSessionOf(tx, row, input.session) };
    });
  }

  create(input: Input<"create">): Promise<{ user: User; resetExpiresAtMs: number } | undefined> {
    return this.#unlessTaken(input.user, async (tx) => {
      const row = insertUser(tx, input.user, null);
      await tx.em.flush();
      const wish = { createdBy: input.by.id, revokeKeys: undefined };
      const expiresAt = await insertReset(tx, row.id, input.reset, wish);
      await tx.record({ ...actedBy(input.by), kind: "user.created", subjectId: row.id, details: grantOf(toUser(row)) });
      return { user: toUser(row), resetExpiresAtMs: expiresAt.getTime() };
    });
  }

  async find(id: string): Promise<User | undefined> {
    return this.#database.transact(async ({ em }) => {
      const row = await em.findOne(UserRow, { id });
      return row === null ? undefined : toUser(row);
    });
  }

  async secretsById(id: string): Promise<UserSecrets | undefined> {
    return this.#database.transact(async ({ em }) => {
      const row = await em.findOne(UserRow, { id });
      return row === null ? undefined : toUserSecrets(row);
    });
  }

  async secretsByEmail(emailNormalized: string): Promise<UserSecrets | undefined> {
    return this.#database.transact(async ({ em }) => {
      const row = await em.findOne(UserRow, { emailNormalized });
      return row === null ? undefined : toUserSecrets(row);
    });
  }

  async list(input: Input<"list">): Promise<readonly User[]> {
    const { emailForms, after, limit } = input;
    return this.#database.transact(async ({ em }) => {
      const ofEmail = emailForms === undefined ? [] : [{ emailNormalized: { $in: [...emailForms] } }];
      const behind = after === undefined ? [] : [isAfter(after)];
      const rows = await em.find(
        UserRow,
        { $and: [...ofEmail, ...behind] },
        { orderBy: [{ createdAt: "desc" }, { id: "desc" }], limit },
      );
      return rows.map(toUser);
    });
  }

  async update(input: Input<"update">): Promise<User | undefined> {
    const { displayName, tier, scopes } = input.patch;
    return this.#database.transact([userLock(input.id)], async (tx) => {
      const row = await lockUser(tx, input.id);
      if (row === null) return undefined;
      const before = toUser(row);
      if (displayName !== undefined) row.displayName = displayName;
      if (tier !== undefined) row.tier = tier;
      if (scopes !== undefined) row.scopes = [...scopes];
      const after = toUser(row);
      const changed = FIELDS.filter((field) => !isDeepStrictEqual(before[field], after[field]));
      if (changed.length === 0) {
        tx.unchanged("OWNER", row.id);
        return after;
      }
      await tx.em.flush();
      if (changed.some((field) => field !== "displayName")) await tx.changed("OWNER", row.id);
      const fields = changed.map((field) => FIELD_NAMES[field]).join(",");
      const details = { fields, ...grantDetails(before, after) };
      await tx.record({ ...actedBy(input.by), kind: "user.updated", subjectId: row.id, details });
      return after;
    });
  }

  async disable(input: Input<"disable">): Promise<User | undefined> {
    return this.#database.transact([userLock(input.id)], (tx) => setState(tx, input, "disabled"));
  }

  async enable(input: Input<"enable">): Promise<User | undefined> {
    return this.#database.transact([userLock(input.id)], (tx) => setState(tx, input, "active"));
  }

  async changePassword(input: Input<"changePassword">): Promise<GrantedSession | undefined> {
    return this.#database.transact([userLock(input.id)], async (tx) => {
      const row = await lockUser(tx, input.id);
      if (row?.state !== "active" || row.passwordVersion !== input.expectedVersion) return undefined;
      const { passwordHash, session } = input;
      const ended = await changeAccess(tx, row, { passwordHash }, "password_changed");
      const details = tokenDetails(ended);
      await tx.record({ ...actedBy(input.by), kind: "user.password_changed", subjectId: row.id, details });
      return beginSessionOf(tx, row, session);
    });
  }

  async rehash(input: Input<"rehash">): Promise<void> {
    const { id, passwordVersion, passwordHash } = input;
    await this.#database.transact([userLock(id)], ({ em }) =>
      em.nativeUpdate(UserRow, { id, passwordVersion }, { passwordHash }),
    );
  }

  async #unlessTaken<T>(
    { id, emailNormalized }: Input<"create">["user"],
    work: (tx: Transaction) => Promise<T>,
  ): Promise<T | undefined> {
    try {
      return await this.#database.transact([emailLock(emailNormalized), userLock(id)], work);
    } catch (error) {
      if (isUniqueViolation(error)) return undefined;
      throw error;
    }
  }
}

async function setState(tx: Transaction, input: Input<"disable">, state: User["state"]): Promise<User | undefined> {
  const row = await lockUser(tx, input.id);
  if (row === null) return undefined;
  if (row.state === state) {
    tx.unchanged("OWNER", row.id);
    tx.unchanged("SESSION", row.id);
    return toUser(row);
  }
  const ended = await changeAccess(tx, row, { state }, "user_disabled");
  await tx.changed("OWNER", row.id);
  const kind = state === "active" ? "user.enabled" : "user.disabled";
  await tx.record({ ...actedBy(input.by), kind, subjectId: row.id, details: tokenDetails(ended) });
  return toUser(row);
}

/** The grant of a new account, as details of an audit event. */
function grantOf({ tier, scopes }: User): Record<string, string> {
  return { tier, scopes: scopes.join(" ") };
}

/** A changed grant with its value before and after. A grant is not a personal secret. */
function grantDetails(before: User, after: User): Record<string, string> {
  const details: Record<string, string> = {};
  if (before.tier !== after.tier) Object.assign(details, { tier_before: before.tier, tier_after: after.tier });
  const [was, is] = [before.scopes.join(" "), after.scopes.join(" ")];
  return was === is ? details : { ...details, scopes_before: was, scopes_after: is };
}
