import type { SealedSigningKey, SigningAlgorithm, SigningKeyRecord } from "../../auth/signing/signing-key.ts";
import { bytesOf, msOf, type Row } from "../database.ts";
import { SigningKeyRow } from "../tables.ts";
import type { Transaction } from "../transactions/transaction.ts";

type Times = Pick<SigningKeyRow, "createdAt" | "activatesAt" | "retiresAt">;

export async function insertSigningKey(tx: Transaction, key: SealedSigningKey, times: Times): Promise<SigningKeyRow> {
  const { kid, algorithm, sealVersion } = key;
  const sealed = Buffer.from(key.sealed);
  const row = tx.em.create(SigningKeyRow, { kid, algorithm, sealed, sealVersion, ...times, revokedAt: null });
  tx.em.persist(row);
  await tx.em.flush();
  await tx.changed("SIGNING_KEY", kid);
  return row;
}

export function findSigning(tx: Transaction, now: Date): Promise<SigningKeyRow[]> {
  return tx.em.find(SigningKeyRow, {
    revokedAt: null,
    activatesAt: { $lte: now },
    $or: [{ retiresAt: null }, { retiresAt: { $gt: now } }],
  });
}

export function findNext(tx: Transaction, now: Date): Promise<SigningKeyRow | null> {
  return tx.em.findOne(SigningKeyRow, { revokedAt: null, activatesAt: { $gt: now } });
}

/** The record of an entity. */
export function toRecord(row: SigningKeyRow): SigningKeyRecord {
  return recordOf(row, {
    createdAtMs: row.createdAt.getTime(),
    activatesAtMs: row.activatesAt.getTime(),
    retiresAtMs: row.retiresAt?.getTime(),
    revokedAtMs: row.revokedAt?.getTime(),
  });
}

/** The record of a row of the hot read. */
export function recordOfRead(row: Row): SigningKeyRecord {
  const key = {
    kid: row.kid as string,
    algorithm: row.algorithm as SigningAlgorithm,
    sealed: bytesOf(row.sealed),
    sealVersion: row.seal_version as number,
  };
  return recordOf(key, {
    createdAtMs: msOf(row.created_ms) as number,
    activatesAtMs: msOf(row.activates_ms) as number,
    retiresAtMs: msOf(row.retires_ms),
    revokedAtMs: undefined,
  });
}

type RecordTimes = Pick<SigningKeyRecord, "createdAtMs" | "activatesAtMs" | "retiresAtMs" | "revokedAtMs">;

function recordOf({ kid, algorithm, sealed, sealVersion }: SealedSigningKey, times: RecordTimes): SigningKeyRecord {
  return Object.freeze({ kid, algorithm, sealed: Buffer.from(sealed), sealVersion, ...times });
}
