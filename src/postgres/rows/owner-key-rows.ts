import type { AuditEntry } from "../../audit/audit-event.ts";
import { arrayLiteral, type Row } from "../row.ts";
import type { Transaction } from "../transactions/transaction.ts";

/** Maximum keys that one statement revokes, because an owner may have tens of thousands and a statement has 1 s. */
const KEYS_PER_STATEMENT = 1000;

/**
 * Revokes all API keys of an owner. This transaction has locked the owner, so no key is issued meanwhile. Each key gets
 * its own audit event. A single change, of the owner, reports it to all copies, whatever the number of keys.
 *
 * @returns the number of keys that were not revoked before
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

/** Locks keys in the order of the primary key, like every statement that locks several. @returns the ids it revoked */
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
