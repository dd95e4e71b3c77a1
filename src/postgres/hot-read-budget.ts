/**
 * The time budget of a hot read. A call that needs a key, a session or a signing key that is not in memory waits at
 * most CALLER_MS when PostgreSQL is unreachable. Each time below contains the one before it, and a margin.
 */
export const HOT_READ_BUDGET = {
  /** PostgreSQL ends the statement itself (`statement_timeout`). */
  STATEMENT_MS: 120,
  /** The connection is destroyed: a server that has not ended the statement by then is frozen or unreachable. */
  SILENCE_MS: 140,
  /** The read fails with DATABASE_UNAVAILABLE; contains the wait for one of the READ_CONNECTIONS. */
  ANSWER_MS: 220,
  /** The same for a read that also waits for the statements before it (rows/grouped-reads.ts). */
  GROUPED_MS: 260,
  /** The caller has its answer: a stale copy, or UNAVAILABLE. Tests measure this one; no timer has it. */
  CALLER_MS: 300,
} as const;

/** Connections for hot reads of one process. */
export const READ_CONNECTIONS = 4;
