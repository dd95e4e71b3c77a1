import pg from "pg";
import { toDomainError } from "./conflicts.ts";

/** Any number that nobody else takes: "latchkey" as the beginning of a bigint. */
const LOCK = "7809632594316157049";

/**
 * Runs `work` while holding the cluster-wide lock of migrations and bootstrap. It waits for the lock without a limit,
 * on a connection of its own, since a session lock would wait under any statement_timeout.
 */
export async function withMigrationLock<T>(url: string, work: () => Promise<T>): Promise<T> {
  const client = new pg.Client({
    connectionString: url,
    connectionTimeoutMillis: 5000,
    keepAlive: true,
    application_name: "latchkey-migrations",
  });
  // Without a listener a terminated backend would end the process; the query in flight fails by itself.
  client.on("error", () => {});
  try {
    await client.connect();
    await client.query("select pg_advisory_lock($1)", [LOCK]);
  } catch (error) {
    await client.end().catch(() => {});
    throw toDomainError(error);
  }
  try {
    return await work();
  } finally {
    await client.end().catch(() => {});
  }
}
