/**
 * Idempotency of calls that issue or rotate keys: by the request_id, a retry finds the key that the first call made.
 */
import type { IdempotencyKey, RequestUsed } from "../../keys/key-store.ts";
import { KeyRequestRow } from "../tables.ts";
import { mustHold, requestLock } from "../transactions/locks.ts";
import type { Transaction } from "../transactions/transaction.ts";
import { REQUEST_MEMORY_MS } from "./key-quotas.ts";

export function locksOf(request: IdempotencyKey | undefined): string[] {
  return request === undefined ? [] : [requestLock(request)];
}

export async function findRequest(tx: Transaction, request: IdempotencyKey): Promise<RequestUsed | undefined> {
  mustHold(tx, requestLock(request));
  const { callerId, requestId } = request;
  // Of two concurrent calls with one request_id, the second waits here until the first has committed.
  await tx.em.execute("select pg_advisory_xact_lock(hashtextextended(?, 0))", [`${callerId} ${requestId}`]);
  const since = new Date(tx.now.getTime() - REQUEST_MEMORY_MS);
  // An old use of this id makes place. Retention deletes those of other ids, whose number a caller chooses.
  await tx.em.nativeDelete(KeyRequestRow, { callerId, requestId, createdAt: { $lt: since } });
  const row = await tx.em.findOne(KeyRequestRow, { callerId, requestId });
  if (row === null) return undefined;
  const sameParameters = Buffer.from(row.parametersDigest).equals(request.parametersDigest);
  return { kind: "request_used", keyId: row.keyId, sameParameters };
}

export function insertRequest(tx: Transaction, request: IdempotencyKey, keyId: string): void {
  tx.em.persist(tx.em.create(KeyRequestRow, { ...request, keyId, createdAt: tx.now }));
}
