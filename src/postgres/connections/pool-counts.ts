import { systemClock } from "../../lib/clock.ts";
import { Histogram, SECONDS } from "../../lib/histogram.ts";

/** The pools of a process. */
export const POOLS = ["management", "reads"] as const;
export type PoolName = (typeof POOLS)[number];

/** The counts of one pool's connections since the start. The embedded database has no pool, so it counts nothing. */
export class PoolCounts {
  /** Times from a statement to its answer, in seconds; of failed statements too. */
  readonly querySeconds = new Histogram(SECONDS);
  /** Time for which readers waited until their statement was sent, in seconds. Only the pool for hot reads has it. */
  readonly waitSeconds = new Histogram(SECONDS);
  /** Number of statements that failed, and of connections that could not be opened. */
  failures = 0;
}

interface Pool {
  connect: (...args: unknown[]) => unknown;
  on(event: "connect", listener: (client: { query: (...args: unknown[]) => unknown }) => void): void;
}

/** Counts the statements of a pool's connections, whatever runs them. */
export function countStatements(counts: PoolCounts) {
  return (pool: Pool) => {
    const failed = (error: unknown) => {
      if (!isAnswer(error)) counts.failures++;
    };
    const connect = pool.connect.bind(pool);
    pool.connect = (...args) => {
      const connecting = connect(...args);
      if (connecting instanceof Promise) connecting.catch(failed);
      return connecting;
    };
    pool.on("connect", (client) => {
      const query = client.query.bind(client);
      client.query = (...args) => {
        const sentAtMs = systemClock.monotonicMs();
        const answer = query(...args);
        if (!(answer instanceof Promise)) return answer;
        const settled = () => counts.querySeconds.observeMs(systemClock.monotonicMs() - sentAtMs);
        answer.then(settled, (error: unknown) => {
          settled();
          failed(error);
        });
        return answer;
      };
    });
  };
}

/** Whether an error answers what a caller asked: class 23 says that a row exists already, or that another one does not. */
function isAnswer(error: unknown): boolean {
  return String((error as { code?: unknown } | null)?.code).startsWith("23");
}
