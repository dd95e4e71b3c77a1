import type { SqlEntityManager } from "@mikro-orm/sql";
import { traced } from "../../lib/tracing.ts";
import { statementSpan } from "./statement-span.ts";

/**
 * The ORM's object for the connection of a transaction. All statements pass through `executeQuery`, and COMMIT passes
 * through `commit`.
 */
interface OrmTransaction {
  executeQuery(query: { readonly sql: string }, ...more: unknown[]): Promise<unknown>;
  commit(): { execute(): Promise<unknown> };
}

/**
 * Makes a transaction end with its call. Once the signal has aborted, a further statement or COMMIT throws the signal's
 * reason, and the transaction is rolled back. A statement or COMMIT that has started runs to its end. (The ORM accepts
 * a signal too, but then abandons the statement under way, and writes the statement's outcome to the console.)
 *
 * Each statement and the COMMIT also are a span of the call that they are for.
 *
 * @param onAnswer is called after each statement that succeeded
 */
export function makeAbortable(em: SqlEntityManager, signal: AbortSignal | undefined, onAnswer: () => void): void {
  const transaction = em.getTransactionContext<OrmTransaction>()!;
  const { executeQuery, commit } = transaction;
  transaction.executeQuery = async (...args) => {
    signal?.throwIfAborted();
    const answer = await traced(statementSpan, args[0].sql, () => executeQuery.apply(transaction, args));
    onAnswer();
    return answer;
  };
  transaction.commit = () => {
    signal?.throwIfAborted();
    const command = commit.apply(transaction);
    return { execute: () => traced(statementSpan, "commit", () => command.execute()) };
  };
}
