import type { DatabaseConnection } from "../lib/database-connection.ts";
import { toDomainError } from "./conflicts.ts";
import { PostgresClient } from "./connection.ts";

/** Any number that nobody else takes: "latchkey" as the beginning of a bigint. */
const LOCK = "7809632594316157049";
const CONNECT_MS = 5000;

/**
 * Runs `work` while holding the cluster-wide lock of migrations and bootstrap. It waits for the lock without a limit,
 * on a connection of its own, since a session lock would wait under any statement_timeout.
 */
export async function withMigrationLock<T>(connection: DatabaseConnection, work: () => Promise<T>): Promise<T> {
  const client = new PostgresClient(connection, { purpose: "migrations", connectMs: CONNECT_MS });
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
