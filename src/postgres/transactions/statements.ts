import type { SqlEntityManager } from "@mikro-orm/sql";
import type { Change } from "../../changes/change.ts";
import { traced } from "../../lib/tracing.ts";
import type { Pools } from "../connections/pools.ts";
import { faultOf, toDomainError } from "../errors/driver-errors.ts";
import { isOtherHistory } from "../history/followed-history.ts";
import type { Row } from "../row.ts";
import { makeAbortable } from "./abortable-transaction.ts";
import { statementSpan } from "./statement-span.ts";
import type { Begin, Transaction } from "./transaction.ts";

const MAX_ATTEMPTS = 3;

/** How a transaction begins, and what may end it. */
export interface Transacting {
  readonly begin: Begin;
  readonly signal: AbortSignal | undefined;
  readonly holds: Transaction["holds"];
}

/**
 * Runs a transaction. After a deadlock or a serialization failure it runs again, at most MAX_ATTEMPTS times in all.
 * database.ts decides when a call may run one.
 */
export async function transact<T>(pools: Pools, asked: Transacting, work: (tx: Transaction) => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    asked.signal?.throwIfAborted();
    try {
      return await transactOnce(pools, asked, work);
    } catch (error) {
      // The ORM takes the reason of an abort for an error of the driver, and wraps it.
      asked.signal?.throwIfAborted();
      if (attempt < MAX_ATTEMPTS && faultOf(error) === "conflict") continue;
      // A connection to an abandoned server is closed after its first statement, so each connection is tried at most
      // once.
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
    makeAbortable(em as SqlEntityManager, signal, () => turns.answered());
    const begun = await begin(em as SqlEntityManager, { now: nowOf(pools), history, holds, changes });
    return { result: await work(begun.tx), proof: begun.proof };
  });
  if (changes.length > 0) options.onChanges?.(changes);
  if (proof !== undefined) history.proveStill(proof);
  return result;
}

/** Runs one statement. */
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

/** Runs one statement outside of a transaction as a span of the call that it is for. @param sql without its proof */
export function tracedStatement<T>(sql: string, ask: () => Promise<T>): Promise<T> {
  return traced(statementSpan, sql, ask);
}

/** The error that leaves this room. An error that a person has to act on is also logged. */
export function failed({ alarm }: Pools, error: unknown): unknown {
  const failure = toDomainError(error);
  alarm.met(failure);
  return failure;
}

/** SQL for the database's time. Constant except in tests. */
export function nowOf({ options }: Pools): string {
  const shiftMs = options.timeShiftMs?.() ?? 0;
  return shiftMs === 0 ? "statement_timestamp()" : `(statement_timestamp() + interval '${shiftMs} milliseconds')`;
}

/** Size of the pool of management connections. */
export function managingConnections({ options: { target } }: Pools): number {
  return target.kind === "embedded" ? 1 : target.poolSize;
}
