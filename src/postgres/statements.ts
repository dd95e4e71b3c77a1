/** Statements and transactions on the connections of a database. Who may begin one when is database.ts' business. */
import type { SqlEntityManager } from "@mikro-orm/sql";
import type { Change } from "../changes/change.ts";
import { watchStatements } from "./abortable-transaction.ts";
import { faultOf, toDomainError } from "./conflicts.ts";
import type { Pools } from "./pools.ts";
import type { Row } from "./row.ts";
import { isOtherHistory } from "./standby-check.ts";
import type { Begin, Transaction } from "./transaction.ts";

const MAX_ATTEMPTS = 3;

/** What a transaction begins with, and ends with. */
export interface Transacting {
  readonly begin: Begin;
  readonly signal: AbortSignal | undefined;
  readonly holds: Transaction["holds"];
}

/** Runs a transaction, and again where the database took it back for another one's sake. */
export async function transact<T>(pools: Pools, asked: Transacting, work: (tx: Transaction) => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    asked.signal?.throwIfAborted();
    try {
      return await transactOnce(pools, asked, work);
    } catch (error) {
      // The ORM takes it for the driver's, and wraps it.
      asked.signal?.throwIfAborted();
      if (attempt < MAX_ATTEMPTS && faultOf(error) === "conflict") continue;
      // Connections to an abandoned server give way one by one, each at its first statement.
      if (attempt <= managingConnections(pools) && isOtherHistory(error)) continue;
      throw failed(pools, error);
    }
  }
}

async function transactOnce<T>(
  pools: Pools,
  { begin, signal, holds }: Transacting,
  work: (tx: Transaction) => Promise<T>,
): Promise<T> {
  const { orm, options, history, turns } = pools;
  const root = orm.em.fork() as SqlEntityManager;
  const changes: Change[] = [];
  const { result, proof } = await root.transactional(async (em) => {
    watchStatements(em as SqlEntityManager, signal, () => turns.answered());
    const begun = await begin(em as SqlEntityManager, { now: nowOf(pools), history, holds, changes });
    return { result: await work(begun.tx), proof: begun.proof };
  });
  if (changes.length > 0) options.onChanges?.(changes);
  if (proof !== undefined) history.proveStill(proof);
  return result;
}

/** One statement. */
export async function execute(
  pools: Pools,
  em: SqlEntityManager,
  sql: string,
  parameters: readonly unknown[],
): Promise<Row[]> {
  try {
    return await em.execute<Row[]>(sql, [...parameters]);
  } catch (error) {
    throw failed(pools, error);
  }
}

/** The error that leaves this room; what a person has to mend is told in the log. */
export function failed({ alarm }: Pools, error: unknown): unknown {
  const failure = toDomainError(error);
  alarm.met(failure);
  return failure;
}

/** SQL for the database's time. Constant but in tests. */
export function nowOf({ options }: Pools): string {
  const shiftMs = options.timeShiftMs?.() ?? 0;
  return shiftMs === 0 ? "statement_timestamp()" : `(statement_timestamp() + interval '${shiftMs} milliseconds')`;
}

/** Connections of management. */
export function managingConnections({ options: { target } }: Pools): number {
  return target.kind === "embedded" ? 1 : target.poolSize;
}
