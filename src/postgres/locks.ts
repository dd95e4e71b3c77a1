/**
 * Names of what transactions lock. A transaction names them before it begins (`transact`), and the process lets
 * transactions with a common name in one after the other. So at most one of a process waits for a lock on a connection.
 */
import assert from "node:assert/strict";
import type { Transaction } from "./transaction.ts";

/** The row of a user: also the user's keys are issued, and sessions begun, under it. */
export function userLock(userId: string): string {
  return `user ${userId}`;
}

export function keyLock(keyId: string): string {
  return `key ${keyId}`;
}

export function sessionLock(sessionId: string): string {
  return `session ${sessionId}`;
}

/** A retry's name for itself. */
export function requestLock({
  callerId,
  requestId,
}: {
  readonly callerId: string;
  readonly requestId: string;
}): string {
  return `request ${callerId} ${requestId}`;
}

/** An address that is about to belong to a new account: the unique index lets one wait for the other. */
export function emailLock(emailNormalized: string): string {
  return `email ${emailNormalized}`;
}

/** To be asked before each statement that waits for a lock. */
export function mustHold(tx: Pick<Transaction, "holds">, name: string): void {
  assert(tx.holds(name), `name the lock of a ${name.split(" ", 1)} when the transaction begins: see locks.ts`);
}
