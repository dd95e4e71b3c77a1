import { PasswordResetRow } from "./tables.ts";
import type { Transaction } from "./transaction.ts";

/** A one-time token as it is kept: its digest, and how long it is good for. */
export interface NewReset {
  readonly digest: Uint8Array;
  readonly ringVersion: number;
  readonly lifeMs: number;
}

/** What an operator decided who made a token. */
export interface ResetWish {
  /** Id of the operator's credential. */
  readonly createdBy: string;
  readonly revokeKeys: boolean | undefined;
}

/** Inserts a token of a user that is there already. @returns when it ends */
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
