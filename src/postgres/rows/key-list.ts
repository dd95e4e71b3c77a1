/** A page of the keys of an owner, or of all owners. */
import type { KeyFilter, KeyPage } from "../../keys/key-store.ts";
import type { PagePosition } from "../../lib/page.ts";
import type { ManagedDatabase } from "../database.ts";
import { KEY_AND_OWNER, toKeyWithOwner } from "./key-rows.ts";

/**
 * Maximum bytes of the keys of a page, except that each page has at least one key. An owner chooses how large their
 * keys are, and must not choose how long this process works on one answer: 250 keys of 10 KiB took 30 ms of one turn.
 */
const MAX_PAGE_BYTES = 256 * 1024;

/**
 * Maximum keys that a page counts for its total. Counting reads each key: the ten million of a large installation take
 * longer than a statement may.
 */
const MAX_COUNTED = 10_000;

const ORDER = "order by k.created_at desc, k.id desc";

/** The choice of a page: the keys after a position, at most `size`. */
export interface KeyListing {
  readonly filter: KeyFilter;
  readonly size: number;
  readonly after: PagePosition | undefined;
}

/** Reads a page, newest first (page-order.ts). It has fewer than `size` keys if they are large, and then a next page. */
export async function listKeys(database: ManagedDatabase, { filter, size, after }: KeyListing): Promise<KeyPage> {
  const { where, parameters } = conditionOf(database, filter);
  const [behind, position] =
    after === undefined
      ? ["", []]
      : ["and (k.created_at, k.id) < (to_timestamp(?::float8 / 1000), ?)", [String(after.createdAtMs), after.id]];
  // In the order of the page, because the oldest keys have mostly ended: they would be read, and not counted.
  const counted = `select from api_keys k where ${where} ${ORDER} limit ${MAX_COUNTED + 1}`;
  const count = `select count(*) from (${counted}) c`;
  // The bytes of a key are computed once, and only for the keys that the page may have: PostgreSQL keeps `offset 0` as
  // it is.
  const rows = await database.read(
    `select ${KEY_AND_OWNER}, k.found::int, (${count})::int as total from (
       select k.*, count(*) over () as found,
         sum(k.bytes) over (${ORDER}) - k.bytes as bytes_before
       from (
         select k.*, octet_length(k::text) as bytes from (
           select k.* from api_keys k where ${where} ${behind} ${ORDER} limit ?::int
         ) k offset 0
       ) k
     ) k
     left join users o on o.id = k.owner_id
     where k.bytes_before < ${MAX_PAGE_BYTES}
     ${ORDER}
     limit ?::int`,
    [...parameters, ...parameters, ...position, size + 1, size],
  );
  const items = rows.map(toKeyWithOwner);
  const last = items.at(-1)?.key;
  const hasMore = last !== undefined && (rows[0]!.found as number) > items.length;
  const [total] = rows.length > 0 ? rows : await database.read(`select (${count})::int as total`, parameters);
  return {
    items,
    next: hasMore ? { createdAtMs: last.createdAtMs, id: last.id } : undefined,
    totalSize: total!.total as number,
  };
}

function conditionOf({ now }: ManagedDatabase, { kind, ownerId, showEnded }: KeyFilter) {
  const conditions = [
    "k.kind = ? and k.deleted_at is null",
    ...(ownerId === undefined ? [] : ["k.owner_id = ?"]),
    ...(showEnded ? [] : [`k.state <> 'revoked' and (k.expires_at is null or k.expires_at > ${now})`]),
  ];
  const parameters: readonly string[] = ownerId === undefined ? [kind] : [kind, ownerId];
  return { where: conditions.join(" and "), parameters };
}
