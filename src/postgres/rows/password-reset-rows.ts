import { PasswordResetRow } from "../tables.ts";
import type { Transaction } from "../transactions/transaction.ts";

/** A new one-time token: its digest, and how long it is good. */
export interface NewReset {
  readonly digest: Uint8Array;
  readonly ringVersion: number;
  readonly lifeMs: number;
}

/** The decision of the operator who created a token. */
export interface ResetWish {
  /** Id of the operator's credential. */
  readonly createdBy: string;
  readonly revokeKeys: boolean | undefined;
}

/** Inserts a token of a user who exists already. @returns when it expires */
export async function insertReset(tx: Transaction, userId: string, reset: NewReset, wish: ResetWish): Promise<Date> {
  const expiresAt = new Date(tx.now.getTime() + reset.lifeMs);
  const tokenDigest = Buffer.from(reset.digest);
  const { ringVersion } = reset;
  const { createdBy, revokeKeys = null } = wish;
  const times = { createdAt: tx.now, expiresAt, usedAt: null };
  tx.em.persist(tx.em.create(PasswordResetRow, { tokenDigest, ringVersion, userId, createdBy, revokeKeys, ...times }));
  await tx.em.flush();
  return expiresAt;
}
