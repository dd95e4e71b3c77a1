import { LockMode } from "@mikro-orm/core";
import type { AddSecret } from "../../keys/key-store.ts";
import { type KeyRow, KeySecretRow } from "../tables.ts";
import type { Transaction } from "../transactions/transaction.ts";

/** Adds a secret; the next flush writes it. */
export function insertSecret(tx: Transaction, keyId: string, digest: Buffer, pepperVersion: number): void {
  tx.em.persist(tx.em.create(KeySecretRow, { digest, keyId, pepperVersion, createdAt: tx.now, expiresAt: null }));
}

/**
 * Makes place for one more secret. It ends the newest secret after the overlap, or all secrets if there is no overlap.
 * It also erases ended secrets above `maxEndedSecrets`. The next flush writes it. The caller has locked the key's row.
 *
 * @returns whether there is a place; if not, nothing was changed
 */
export async function makePlace(
  tx: Transaction,
  key: KeyRow,
  { overlapMs, maxLiveSecrets, maxEndedSecrets }: Pick<AddSecret, "overlapMs" | "maxLiveSecrets" | "maxEndedSecrets">,
): Promise<boolean> {
  // Locked in the order of rehashSecrets. Otherwise a secret could get another digest here, and miss its end.
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
