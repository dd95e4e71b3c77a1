/**
 * Names of the locks that transactions wait for. A transaction passes these names to `transact` before it begins, and
 * this process runs transactions with a common name one after another. So at most one transaction of this process holds
 * a connection while it waits for a given lock in the database.
 */
import assert from "node:assert/strict";
import type { Transaction } from "./transaction.ts";

/** The row of a user. Issuing a key for the user and beginning a session also take this lock. */
export function userLock(userId: string): string {
  return `user ${userId}`;
}

export function keyLock(keyId: string): string {
  return `key ${keyId}`;
}

export function sessionLock(sessionId: string): string {
  return `session ${sessionId}`;
}

/** The request_id of a call that may be retried. */
export function requestLock({
  callerId,
  requestId,
}: {
  readonly callerId: string;
  readonly requestId: string;
}): string {
  return `request ${callerId} ${requestId}`;
}

/** The address of a new account: the unique index makes a second insert wait for the first. */
export function emailLock(emailNormalized: string): string {
  return `email ${emailNormalized}`;
}

/** The names of client certificates: changes of them run one after another, so that no two take one name. */
export const CERTIFICATE_NAMES = "certificate names";

/** Asserts that the transaction has named the lock. Call it before each statement that waits for a lock. */
export function mustHold(tx: Pick<Transaction, "holds">, name: string): void {
  assert(tx.holds(name), `the transaction must name the lock of a ${name.split(" ", 1)} when it begins: see locks.ts`);
}
