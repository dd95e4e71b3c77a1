/**
 * The one door to what a person gets in by: the password and the state of an account, its sessions, and its reset tokens.
 * A reset token belongs to the state that it was made for, so each change of it ends the token in the same transaction.
 */
import { LockMode } from "@mikro-orm/core";
import type { SessionEnd } from "../auth/session.ts";
import { mustHold, userLock } from "./locks.ts";
import type { Row } from "./row.ts";
import { endSessionsOf } from "./session-rows.ts";
import { UserRow } from "./tables.ts";
import type { Transaction } from "./transaction.ts";

/** Everything else sees what decides who gets in as read-only. */
type WritableUser = { -readonly [Column in keyof UserRow]: UserRow[Column] };

/** Makes all changes of one account pass one after the other. */
export function lockUser(tx: Transaction, id: string): Promise<UserRow | null> {
  mustHold(tx, userLock(id));
  return tx.em.findOne(UserRow, { id }, { lockMode: LockMode.PESSIMISTIC_WRITE });
}

/** New values; what is absent stays, and its sessions and reset tokens end all the same. */
export interface AccessChange {
  readonly state?: UserRow["state"];
  /** null: no password opens the account until a reset token sets one. */
  readonly passwordHash?: string | null;
}

/** What a change ended. */
export interface EndedAccess {
  readonly sessions: number;
  readonly resetTokens: number;
}

/**
 * Changes what decides who gets in, then ends all sessions and reset tokens. The user comes first: a login in between
 * waits for the user's lock, and is refused by the state or the version of the password.
 *
 * @param user locked by this transaction
 */
export async function changeAccess(
  tx: Transaction,
  user: UserRow,
  change: AccessChange,
  why: SessionEnd,
): Promise<EndedAccess> {
  const row: WritableUser = user;
  if (change.state !== undefined) row.state = change.state;
  if (change.passwordHash !== undefined) {
    row.passwordHash = change.passwordHash;
    row.passwordVersion++;
  }
  await tx.em.flush();
  const sessions = await endSessionsOf(tx, row.id, why);
  return { sessions, resetTokens: await endResetTokensOf(tx, row.id) };
}

/** For the audit trail: a person whose token is refused learns from an operator what ended it. */
export function tokenDetails({ resetTokens }: EndedAccess): Record<string, string> {
  return resetTokens === 0 ? {} : { reset_tokens: String(resetTokens) };
}

/** @returns how many were good until now */
async function endResetTokensOf(tx: Transaction, userId: string): Promise<number> {
  const now = tx.now.toISOString();
  const ended = await tx.em.execute<Row[]>(
    `update password_resets set used_at = ?::timestamptz where user_id = ? and used_at is null
     returning expires_at > ?::timestamptz as was_good`,
    [now, userId, now],
  );
  return ended.filter((row) => row.was_good).length;
}
