import { DomainError } from "../../lib/errors.ts";
import { unavailable } from "../errors/driver-errors.ts";
import { type ProofRow, refuseStandby } from "./standby-check.ts";

/** Code of an answer from another history: nothing was done. No SQLSTATE of PostgreSQL begins with LK. */
const OTHER_HISTORY = "LK001";
/**
 * Code of a history that changed during a COMMIT. The transaction is not run again, because it may have taken effect.
 */
const HISTORY_CHANGED = "LK002";
const NO_INCARNATION = "LK003";

/** DATABASE_UNAVAILABLE for a history that the feed has not named yet. */
export function unnamedHistory(): DomainError {
  return unavailable("the database's history has no incarnation yet", NO_INCARNATION);
}

/** Whether an attempt met another history at its first statement. Then another connection may be tried. */
export function isOtherHistory(error: unknown): boolean {
  return error instanceof DomainError && (error.cause as { code?: unknown } | undefined)?.code === OTHER_HISTORY;
}

/**
 * The history that this process follows: that of the change feed's last good poll. An answer from another history is
 * refused, because the feed does not report what changes there. Before the first poll any history is good.
 */
export class FollowedHistory {
  #incarnation: string | undefined;
  #onOther: () => void = () => {};

  /** Notes the history that the feed's polls come from. */
  follow(incarnation: string): void {
    this.#incarnation = incarnation;
  }

  /**
   * Calls `onOther` at each answer from another history: the connection of that answer or the feed's own may lead to an
   * abandoned server.
   */
  whenOther(onOther: () => void): void {
    this.#onOther = onOther;
  }

  isOther(row: ProofRow): boolean {
    return this.#incarnation !== undefined && row.incarnation !== this.#incarnation;
  }

  /**
   * @throws DATABASE_UNAVAILABLE if the first row, which has the columns of PROOF, is from a standby or another history
   */
  prove(rows: readonly ProofRow[]): void {
    refuseStandby(rows);
    if (!this.isOther(rows[0]!)) return;
    this.#onOther();
    throw unavailable("the database answers from another history than the change feed follows", OTHER_HISTORY);
  }

  /**
   * The answer of a statement with a proof. A connection to an abandoned server is closed after its first answer, so
   * there are at most `connections` + 1 attempts.
   *
   * @throws DATABASE_UNAVAILABLE if the last attempt also met another history, or if a standby answers
   */
  async proven<R extends ProofRow>(connections: number, ask: () => Promise<R[]>): Promise<R[]> {
    for (let attempt = 0; ; attempt++) {
      const found = await ask();
      try {
        this.prove(found);
        return found;
      } catch (error) {
        if (attempt === connections || !isOtherHistory(error)) throw error;
      }
    }
  }

  /**
   * Checks what was committed: the feed may have moved to another history during the transaction.
   *
   * @throws DATABASE_UNAVAILABLE if it has
   */
  proveStill(row: ProofRow): void {
    if (row.incarnation !== null && this.isOther(row)) {
      throw unavailable("the database's history changed; whether the call took effect is unknown", HISTORY_CHANGED);
    }
  }
}
