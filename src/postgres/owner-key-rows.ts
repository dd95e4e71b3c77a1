import type { AuditEntry } from "../audit/audit-event.ts";
import { arrayLiteral, type Row } from "./row.ts";
import type { Transaction } from "./transaction.ts";

/** Keys that one statement revokes: an owner may have tens of thousands, and a statement has a second. */
const KEYS_PER_STATEMENT = 1000;

/**
 * Revokes all API keys of an owner whom this transaction has locked, so that no key is issued meanwhile. Each key gets its
 * own audit event. One change of the owner tells all copies, however many keys there are.
 *
 * @returns how many were not revoked before
 */
export async function revokeKeysOf(
  tx: Transaction,
  ownerId: string,
  entry: Pick<AuditEntry, "actorId" | "clientIp" | "details">,
  reason: string,
): Promise<number> {
  const keys = await tx.em.execute<Row[]>(
    "select id from api_keys where owner_id = ? and state <> 'revoked' order by id",
    [ownerId],
  );
  const ids = keys.map((key) => key.id as string);
  let revoked = 0;
  for (let at = 0; at < ids.length; at += KEYS_PER_STATEMENT) {
    const part = await revoke(tx, ids.slice(at, at + KEYS_PER_STATEMENT), reason);
    await tx.recordEach({ ...entry, kind: "key.revoked" }, part);
    revoked += part.length;
  }
  if (revoked > 0) await tx.changed("OWNER", ownerId);
  return revoked;
}

/** Locks in the order of the primary key, as everything does that locks several keys. @returns those that it revoked */
async function revoke(tx: Transaction, ids: readonly string[], reason: string): Promise<readonly string[]> {
  const rows = await tx.em.execute<Row[]>(
    `with live as (
       select id from api_keys where id = any(?::text[]) and state <> 'revoked' order by id for update
     )
     update api_keys k set state = 'revoked', revoked_at = ?::timestamptz, revoke_reason = ?, version = version + 1
     from live where k.id = live.id returning k.id`,
    [arrayLiteral(ids), tx.now.toISOString(), reason],
  );
  return rows.map((row) => row.id as string);
}
