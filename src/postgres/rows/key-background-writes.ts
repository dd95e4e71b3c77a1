import type { SecretRehash } from "../../keys/key.ts";
import type { ManagedDatabase } from "../database.ts";
import { arrayLiteral } from "../row.ts";

/*
 * Writes in the background that follow from the use of keys, one statement each. Rows are locked in the order of their
 * primary keys, so that two processes that write the same rows can't deadlock.
 */

/** See KeyStore.recordUses. */
export async function recordUses(
  database: ManagedDatabase,
  uses: readonly { readonly keyId: string; readonly usedAtMs: number }[],
): Promise<void> {
  await database.write(
    `with used as (
       select k.id, to_timestamp(u.at_ms / 1000) as at
       from unnest(?::text[], ?::float8[]) as u (id, at_ms) join api_keys k on k.id = u.id
       order by k.id for update of k
     )
     update api_keys k set last_used_at = greatest(k.last_used_at, used.at) from used where used.id = k.id`,
    [arrayLiteral(uses.map((use) => use.keyId)), arrayLiteral(uses.map((use) => `${use.usedAtMs}`))],
  );
}

/**
 * See KeyStore.rehashSecrets. If the statement waited for a row, it sees the row as the other process left it. It does
 * not change a row that was rehashed meanwhile. A rotation locks the secrets of its key in the same order.
 */
export async function rehashSecrets(database: ManagedDatabase, rehashes: readonly SecretRehash[]): Promise<number> {
  const hex = (digest: Uint8Array) => Buffer.from(digest).toString("hex");
  return database.write(
    `with wanted as (
       select s.digest, r.to_digest, r.to_version
       from unnest(?::text[], ?::int[], ?::text[], ?::int[]) as r (from_digest, from_version, to_digest, to_version)
       join key_secrets s on s.digest = decode(r.from_digest, 'hex') and s.pepper_version = r.from_version
       order by s.digest for update of s
     )
     update key_secrets s set digest = decode(wanted.to_digest, 'hex'), pepper_version = wanted.to_version
     from wanted where s.digest = wanted.digest`,
    [
      arrayLiteral(rehashes.map(({ from }) => hex(from.digest))),
      arrayLiteral(rehashes.map(({ from }) => `${from.pepperVersion}`)),
      arrayLiteral(rehashes.map(({ to }) => hex(to.digest))),
      arrayLiteral(rehashes.map(({ to }) => `${to.pepperVersion}`)),
    ],
  );
}
