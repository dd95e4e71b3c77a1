import assert from "node:assert/strict";
import { isDeepStrictEqual } from "node:util";
import { LockMode } from "@mikro-orm/core";
import type { GrantedSession } from "../auth/session.ts";
import type { User, UserSecrets } from "../auth/user.ts";
import type { UserPatch, UserStore } from "../auth/user-store.ts";
import { isUniqueViolation } from "./conflicts.ts";
import type { Database } from "./database.ts";
import { behindCursor } from "./key-store.ts";
import { insertReset } from "./password-reset-rows.ts";
import { beginSession, endSessionsOf } from "./session-rows.ts";
import { UserRow } from "./tables.ts";
import type { Transaction } from "./transaction.ts";
import { insertUser, toUser, toUserSecrets } from "./user-rows.ts";

/** As the contract names them. */
const FIELD_NAMES: Readonly<Record<keyof UserPatch, string>> = {
  displayName: "display_name",
  tier: "tier",
  scopes: "scopes",
};

const FIELDS = Object.keys(FIELD_NAMES) as (keyof UserPatch)[];

type Input<M extends keyof UserStore> = Parameters<UserStore[M]>[0];

export class PostgresUserStore implements UserStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  register(input: Input<"register">): Promise<{ user: User; session: GrantedSession } | undefined> {
    return this.#unlessTaken(async (tx) => {
      const row = insertUser(tx, input.user, input.passwordHash);
      await tx.em.flush();
      const entry = { actorId: row.id, clientIp: input.session.clientIp, subjectId: row.id };
      await tx.record({ ...entry, kind: "user.registered", details: grantOf(toUser(row)) });
      const session = await beginSession(tx, { userId: row.id, passwordVersion: row.passwordVersion }, input.session);
      assert(session !== undefined, "the user was inserted by this transaction");
      return { user: toUser(row), session };
    });
  }

  create(input: Input<"create">): Promise<{ user: User; resetExpiresAtMs: number } | undefined> {
    return this.#unlessTaken(async (tx) => {
      const row = insertUser(tx, input.user, null);
      await tx.em.flush();
      const expiresAt = await insertReset(tx, row.id, input.reset);
      await tx.record({ ...input.by, kind: "user.created", subjectId: row.id, details: grantOf(toUser(row)) });
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
      const behind = after === undefined ? [] : [behindCursor(after)];
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
    return this.#database.transact(async (tx) => {
      const row = await lockUser(tx, input.id);
      if (row === null) return undefined;
      const before = toUser(row);
      if (displayName !== undefined) row.displayName = displayName;
      if (tier !== undefined) row.tier = tier;
      if (scopes !== undefined) row.scopes = [...scopes];
      const after = toUser(row);
      const changed = FIELDS.filter((field) => !isDeepStrictEqual(before[field], after[field]));
      if (changed.length === 0) return after;
      await tx.em.flush();
      if (changed.some((field) => field !== "displayName")) await tx.changed("OWNER", row.id);
      const fields = changed.map((field) => FIELD_NAMES[field]).join(",");
      const details = { fields, ...grantDetails(before, after) };
      await tx.record({ ...input.by, kind: "user.updated", subjectId: row.id, details });
      return after;
    });
  }

  async disable(input: Input<"disable">): Promise<User | undefined> {
    return this.#database.transact(async (tx) => {
      const row = await setState(tx, input, "disabled");
      if (row === null) return undefined;
      await endSessionsOf(tx, row.id, "user_disabled");
      return toUser(row);
    });
  }

  async enable(input: Input<"enable">): Promise<User | undefined> {
    return this.#database.transact(async (tx) => {
      const row = await setState(tx, input, "active");
      return row === null ? undefined : toUser(row);
    });
  }

  async changePassword(input: Input<"changePassword">): Promise<GrantedSession | undefined> {
    return this.#database.transact(async (tx) => {
      const row = await lockUser(tx, input.id);
      if (row?.state !== "active" || row.passwordVersion !== input.expectedVersion) return undefined;
      await tx.record({ ...input.by, kind: "user.password_changed", subjectId: row.id });
      return replacePassword(tx, row, input);
    });
  }

  async rehash(input: Input<"rehash">): Promise<void> {
    await this.#database.transact(({ em }) =>
      em.nativeUpdate(
        UserRow,
        { id: input.id, passwordVersion: input.passwordVersion },
        { passwordHash: input.passwordHash },
      ),
    );
  }

  async #unlessTaken<T>(work: (tx: Transaction) => Promise<T>): Promise<T | undefined> {
    try {
      return await this.#database.transact(work);
    } catch (error) {
      if (isUniqueViolation(error)) return undefined;
      throw error;
    }
  }
}

export function lockUser(tx: Transaction, id: string): Promise<UserRow | null> {
  return tx.em.findOne(UserRow, { id }, { lockMode: LockMode.PESSIMISTIC_WRITE });
}

/** The user first, then the sessions: a login in between waits for the user's lock, and is refused by the version. */
export async function replacePassword(
  tx: Transaction,
  row: UserRow,
  input: Pick<Input<"changePassword">, "passwordHash" | "session">,
): Promise<GrantedSession> {
  row.passwordHash = input.passwordHash;
  row.passwordVersion++;
  await tx.em.flush();
  await endSessionsOf(tx, row.id, "password_changed");
  const session = await beginSession(tx, { userId: row.id, passwordVersion: row.passwordVersion }, input.session);
  assert(session !== undefined, "this transaction holds the user's lock");
  return session;
}

async function setState(tx: Transaction, input: Input<"disable">, state: UserRow["state"]): Promise<UserRow | null> {
  const row = await lockUser(tx, input.id);
  if (row === null || row.state === state) return row;
  row.state = state;
  await tx.em.flush();
  await tx.changed("OWNER", row.id);
  await tx.record({ ...input.by, kind: state === "active" ? "user.enabled" : "user.disabled", subjectId: row.id });
  return row;
}

/** The grant of a new account. */
function grantOf({ tier, scopes }: User): Record<string, string> {
  return { tier, scopes: scopes.join(" ") };
}

/** A changed grant with its value before and after: what a person may do is no secret of theirs. */
function grantDetails(before: User, after: User): Record<string, string> {
  const details: Record<string, string> = {};
  if (before.tier !== after.tier) Object.assign(details, { tier_before: before.tier, tier_after: after.tier });
  const [was, is] = [before.scopes.join(" "), after.scopes.join(" ")];
  return was === is ? details : { ...details, scopes_before: was, scopes_after: is };
}
