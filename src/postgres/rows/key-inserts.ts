import type { NewKey } from "../../keys/key-store.ts";
import { KeyRow } from "../tables.ts";
import type { Transaction } from "../transactions/transaction.ts";

/** Inserts a key. It flushes at once, because rows that refer to the key must come after it. */
export async function insertKey(tx: Transaction, { key }: NewKey): Promise<KeyRow> {
  const row = tx.em.create(KeyRow, {
    id: key.id,
    kind: key.kind,
    environment: key.environment,
    name: key.name,
    description: key.description,
    prefix: key.prefix,
    ownerId: key.ownerId ?? null,
    issuerId: key.issuerId,
    tier: key.tier,
    scopes: [...key.scopes],
    metadata: { ...key.metadata },
    allowedIps: [...key.allowedIps],
    allowedMethods: [...key.allowedMethods],
    certificateNames: [...key.certificateNames],
    limitPerMinute: key.limits.perMinute ?? null,
    limitPerDay: key.limits.perDay ?? null,
    state: "active",
    serviceControlled: key.serviceControlled,
    createdAt: tx.now,
    expiresAt: key.expiresAtMs === undefined ? null : new Date(key.expiresAtMs),
    version: 1,
  });
  await tx.em.persist(row).flush();
  return row;
}
