import type pg from "pg";

/** The storage of one table. */
export interface TableStorage {
  readonly table: string;
  readonly rows: number;
  /** Bytes of the table, for each row. */
  readonly tableBytes: number;
  /** Bytes of all its indexes, for each row. */
  readonly indexBytes: number;
  readonly totalGiB: number;
}

/** The storage of the tables with the most bytes, measured before anything is deleted. */
export async function measureStorage(client: pg.Client): Promise<readonly TableStorage[]> {
  const { rows } = await client.query(
    `select relname as table, reltuples::float8 as rows, pg_table_size(oid)::float8 as table_bytes,
       pg_indexes_size(oid)::float8 as index_bytes
     from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace and reltuples > 0
     order by pg_total_relation_size(oid) desc limit 8`,
  );
  return rows.map((row) => ({
    table: row.table,
    rows: row.rows,
    tableBytes: row.table_bytes / row.rows,
    indexBytes: row.index_bytes / row.rows,
    totalGiB: (row.table_bytes + row.index_bytes) / 2 ** 30,
  }));
}
