/**
 * The one place that writes what grants access to an account: its password and state, its sessions and its reset
 * tokens. A reset token belongs to the state that it was created for. So each change of the state also ends the token,
 * in the same transaction.
 */
import { LockMode } from "@mikro-orm/core";
import type { SessionEnd } from "../../auth/session.ts";
import type { Row } from "../row.ts";
import { UserRow } from "../tables.ts";
import { mustHold, userLock } from "../transactions/locks.ts";
import type { Transaction } from "../transactions/transaction.ts";
import { endSessionsOf } from "./session-rows.ts";

/** Only this file may write the columns that decide who gets in; UserRow has them as read-only. */
type WritableUser = { -readonly [Column in keyof UserRow]: UserRow[Column] };

/** Locks an account, so that its changes run one after another. */
export function lockUser(tx: Transaction, id: string): Promise<UserRow | null> {
  mustHold(tx, userLock(id));
  return tx.em.findOne(UserRow, { id }, { lockMode: LockMode.PESSIMISTIC_WRITE });
}

/** New values. An absent value stays; sessions and reset tokens end in any case. */
export interface AccessChange {
  readonly state?: UserRow["state"];
  /** null = no password opens the account until a reset token sets one. */
  readonly passwordHash?: string | null;
}

/** The number of sessions and reset tokens that a change ended. */
export interface EndedAccess {
  readonly sessions: number;
  readonly resetTokens: number;
}

/**
 * Changes password or state of an account, then ends its sessions and reset tokens. The user's row is written first. A
 * login in between waits for the lock of that row. It is then refused because of the state or the password version.
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

/** Details for the audit trail, so that an operator can tell a person what ended their token. */
export function tokenDetails({ resetTokens }: EndedAccess): Record<string, string> {
  return resetTokens === 0 ? {} : { reset_tokens: String(resetTokens) };
}

/** Ends all reset tokens of a user. @returns the number that were still good */
async function endResetTokensOf(tx: Transaction, userId: string): Promise<number> {
  const now = tx.now.toISOString();
  const ended = await tx.em.execute<Row[]>(
    `update password_resets r set used_at = p.now from (select ? as user_id, ?::timestamptz as now) p
     where r.user_id = p.user_id and r.used_at is null
     returning r.expires_at > p.now as was_good`,
    [userId, now],
  );
  return ended.filter((row) => row.was_good).length;
}
