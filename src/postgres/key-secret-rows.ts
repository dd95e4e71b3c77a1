import { LockMode } from "@mikro-orm/core";
import type { AddSecret } from "../keys/key-store.ts";
import { type KeyRow, KeySecretRow } from "./tables.ts";
import type { Transaction } from "./transaction.ts";

/** Adds a secret, with the next flush. */
export function insertSecret(tx: Transaction, keyId: string, digest: Buffer, pepperVersion: number): void {
  tx.em.persist(tx.em.create(KeySecretRow, { digest, keyId, pepperVersion, createdAt: tx.now, expiresAt: null }));
}

/**
 * Ends the newest secret after the overlap, and without an overlap all, to make place for one more; and erases the ended
 * ones that are not to be kept. Written with the next flush. The key's row is locked.
 *
 * @returns whether there is a place; where there is none nothing was changed
 */
export async function makePlace(
  tx: Transaction,
  key: KeyRow,
  { overlapMs, maxLiveSecrets, maxEndedSecrets }: Pick<AddSecret, "overlapMs" | "maxLiveSecrets" | "maxEndedSecrets">,
): Promise<boolean> {
  // Locked, in the order of rehashSecrets: a secret that gets another digest before it is given its end would miss it.
  const secrets = await tx.em.find(
    KeySecretRow,
    { keyId: key.id },
    { lockMode: LockMode.PESSIMISTIC_WRITE, orderBy: { digest: "asc" } },
  );
  const keyEndMs = key.expiresAt?.getTime() ?? Number.POSITIVE_INFINITY;
  const end = new Date(Math.min(tx.now.getTime() + overlapMs, keyEndMs));
  const endOf = ({ expiresAt }: KeySecretRow) => {
    const isNewest = expiresAt == null;
    return isNewest || (overlapMs === 0 && expiresAt > end) ? end : expiresAt;
  };
  if (secrets.filter((secret) => endOf(secret) > tx.now).length >= maxLiveSecrets) return false;
  for (const secret of secrets) secret.expiresAt = endOf(secret);
  const ended = secrets.filter((secret) => secret.expiresAt! <= tx.now);
  const lastFirst = ended.toSorted((a, b) => b.expiresAt!.getTime() - a.expiresAt!.getTime());
  tx.em.remove(lastFirst.slice(maxEndedSecrets));
  return true;
}
