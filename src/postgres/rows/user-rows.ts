import type { User, UserSecrets } from "../../auth/user.ts";
import type { NewUser } from "../../auth/user-store.ts";
import { UserRow } from "../tables.ts";
import type { Transaction } from "../transactions/transaction.ts";

/** The record of an entity. */
export function toUser(row: UserRow): User {
  return Object.freeze({
    id: row.id,
    email: row.email,
    displayName: row.displayName,
    tier: row.tier,
    scopes: Object.freeze([...row.scopes]),
    state: row.state,
    createdAtMs: row.createdAt.getTime(),
  });
}

export function toUserSecrets(row: UserRow): UserSecrets {
  return Object.freeze({
    user: toUser(row),
    emailNormalized: row.emailNormalized,
    passwordHash: row.passwordHash ?? undefined,
    passwordVersion: row.passwordVersion,
  });
}

/** Adds a user; the next flush writes it. The first password has version 1; version 0 means that there is none. */
export function insertUser(tx: Transaction, user: NewUser, passwordHash: string | null): UserRow {
  const row = tx.em.create(UserRow, {
    ...user,
    scopes: [...user.scopes],
    state: "active",
    passwordHash,
    passwordVersion: passwordHash === null ? 0 : 1,
    createdAt: tx.now,
  });
  tx.em.persist(row);
  return row;
}
