/** The table certificate_names: the one service credential that each name of a client certificate stands for. */
import type { NamedCredential, NameTaken } from "../../keys/key-store.ts";
import { arrayLiteral } from "../row.ts";
import { CERTIFICATE_NAMES, mustHold } from "../transactions/locks.ts";
import type { Transaction } from "../transactions/transaction.ts";
import type { RecordsById } from "./grouped-reads.ts";
import { KEY_AND_OWNER, toKeyWithOwner } from "./key-rows.ts";

/** The advisory lock for changes of names. The number is arbitrary. */
const NAMES_LOCK = "7809632594316157051";

/** The hot read of credentials by certificate names: one row for each name. */
export const CREDENTIALS_BY_NAME: RecordsById<NamedCredential> = {
  sql: `select n.name as certificate_name, ${KEY_AND_OWNER}
    from certificate_names n
    join api_keys k on k.id = n.credential_id
    left join users o on o.id = k.owner_id
    where n.name = any(?::text[]) and k.kind = 'service' and k.deleted_at is null`,
  toRecords: (rows) =>
    new Map(
      rows.map((row) => {
        const name = row.certificate_name as string;
        return [name, Object.freeze({ name, key: toKeyWithOwner(row).key })];
      }),
    ),
  maxUnderWay: 1,
};

/**
 * Makes these the names of a credential. Takes names from credentials that have ended, and tells all copies of those
 * credentials, because a copy finds a name by the credential that had it.
 *
 * @returns which name is taken, and nothing is written then
 */
export async function replaceCertificateNames(
  tx: Transaction,
  credentialId: string,
  names: readonly string[],
): Promise<NameTaken | undefined> {
  mustHold(tx, CERTIFICATE_NAMES);
  await tx.em.execute("select pg_advisory_xact_lock(?::bigint)", [NAMES_LOCK]);
  const literal = arrayLiteral(names);
  const others: { name: string; credential_id: string; is_ended: boolean }[] = await tx.em.execute(
    `select n.name, n.credential_id,
       (k.state = 'revoked' or k.deleted_at is not null or coalesce(k.expires_at <= ?::timestamptz, false)) as is_ended
     from certificate_names n
     join api_keys k on k.id = n.credential_id
     where n.name = any(?::text[]) and n.credential_id <> ?
     order by n.name`,
    [tx.now.toISOString(), literal, credentialId],
  );
  const taken = others.find((other) => !other.is_ended);
  if (taken !== undefined) return { kind: "name_taken", name: taken.name, keyId: taken.credential_id };
  await tx.em.execute("delete from certificate_names where credential_id = ? or name = any(?::text[])", [
    credentialId,
    literal,
  ]);
  await tx.em.execute("insert into certificate_names (name, credential_id) select unnest(?::text[]), ?::text", [
    literal,
    credentialId,
  ]);
  for (const endedId of new Set(others.map((other) => other.credential_id))) {
    await tx.changed("SERVICE_CREDENTIAL", endedId);
  }
  return undefined;
}
