import type { SqlEntityManager } from "@mikro-orm/sql";

/** What the ORM makes of a transaction's connection: all of its statements pass the one, and its COMMIT the other. */
interface Statements {
  executeQuery(...args: unknown[]): Promise<unknown>;
  commit(): unknown;
}

/**
 * Lets no further statement of a transaction start once the signal has aborted, and no COMMIT: both throw its reason, and
 * the transaction is rolled back. A statement or COMMIT that has started is left to its end. (The ORM takes a signal too,
 * but then lets go of a statement under way, and writes what becomes of it to the console.)
 *
 * @param onAnswer is called after each statement that succeeded
 */
export function watchStatements(em: SqlEntityManager, signal: AbortSignal | undefined, onAnswer: () => void): void {
  const statements = em.getTransactionContext<Statements>()!;
  const { executeQuery, commit } = statements;
  statements.executeQuery = async (...args) => {
    signal?.throwIfAborted();
    const answer = await executeQuery.apply(statements, args);
    onAnswer();
    return answer;
  };
  statements.commit = () => {
    signal?.throwIfAborted();
    return commit.apply(statements);
  };
}
