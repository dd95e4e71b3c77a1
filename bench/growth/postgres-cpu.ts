import type pg from "pg";
import { processCpuUs } from "../cpu.ts";

/**
 * CPU time that PostgreSQL spends on a piece of work for the service: the figure of a call that other programs on the
 * machine don't change. It counts the backends that are connected before and after the work.
 *
 * @returns the result of the work with µs for each of its `calls`; undefined if PostgreSQL runs elsewhere
 */
export async function withPostgresCpu<T>(
  client: pg.Client,
  calls: number,
  work: () => Promise<T>,
): Promise<readonly [result: T, postgresUs: number | undefined]> {
  const before = await backends(client);
  const result = await work();
  const after = await backends(client);
  if (before === undefined || after === undefined) return [result, undefined];
  const spentUs = [...after].reduce((sum, [pid, us]) => sum + us - (before.get(pid) ?? 0), 0);
  return [result, spentUs / calls];
}

/** CPU time so far of each backend of the service, by its pid; undefined if they run on another machine. */
async function backends(client: pg.Client): Promise<ReadonlyMap<number, number> | undefined> {
  const { rows } = await client.query(
    `select pid from pg_stat_activity where datname = current_database()
     and application_name in ('latchkey', 'latchkey-reads')`,
  );
  try {
    return new Map(rows.map(({ pid }) => [pid, processCpuUs(pid)]));
  } catch {
    return undefined;
  }
}
