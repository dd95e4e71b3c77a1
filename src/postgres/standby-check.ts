/**
 * Every answer comes from the primary, and from the history that the change feed follows. A standby shows what was. After
 * a failover without fencing an abandoned primary answers as if nothing had happened.
 */
import { DomainError } from "../lib/errors.ts";
import { INCARNATION } from "./incarnation.ts";

/** A row that says from which server, and from which history, an answer is. */
export type ProofRow = Readonly<Record<string, unknown>>;

/** SQL: the columns of a proof. */
export const PROOF = `pg_is_in_recovery() as in_recovery, ${INCARNATION} as incarnation`;

/**
 * The statement with a row that is always there: it says of which server and of when the others are.
 * @param nowMs SQL for the time, in milliseconds
 */
export function onPrimary(sql: string, nowMs: string): string {
  return `select w.in_recovery, w.incarnation, w.now_ms, r.*
    from (select ${PROOF}, ${nowMs} as now_ms) w
    left join (select true as is_row, q.* from (${sql}) q) r on true`;
}

/** The same for a statement with an ORDER BY: its rows come in its order. */
export function onPrimaryInOrder(sql: string, nowMs: string): string {
  return `${onPrimary(`select row_number() over () as row_order, o.* from (${sql}) o`, nowMs)} order by r.row_order`;
}

/** A standby may be behind. Its first row says that it is one, with the SQLSTATE that its refusal to write would have. */
export function refuseStandby([row]: readonly ProofRow[]): void {
  if (row!.in_recovery) throw standby();
}

/** DATABASE_UNAVAILABLE for a server that is a standby. */
export function standby(): DomainError {
  return away("the database is a standby", "25006");
}

/** What counts as a database that is away, with the code that the driver or the server would give. */
export function away(message: string, code: string): DomainError {
  return new DomainError("DATABASE_UNAVAILABLE", message, {
    retryAfterMs: 1000,
    cause: Object.assign(new Error(message), { code }),
  });
}

/** Codes of ours, which no SQLSTATE of PostgreSQL has. An answer from another history than the feed's: nothing was done. */
const OTHER_HISTORY = "LK001";
/** The same after a COMMIT, so that nothing is tried again. */
const HISTORY_CHANGED = "LK002";
const NO_INCARNATION = "LK003";

/** DATABASE_UNAVAILABLE for a history that the feed has not named yet. */
export function unnamedHistory(): DomainError {
  return away("the database's history has no incarnation yet", NO_INCARNATION);
}

/** Whether an attempt met another history at its first statement, so that another connection may be tried. */
export function isOtherHistory(error: unknown): boolean {
  return error instanceof DomainError && (error.cause as { code?: unknown } | undefined)?.code === OTHER_HISTORY;
}

/**
 * The history that this process follows: that of the change feed's last good poll. An answer from another one is not
 * used, because the feed tells nothing of what changes there. Before the first poll any history is good.
 */
export class FollowedHistory {
  #incarnation: string | undefined;
  #onOther: () => void = () => {};

  /** The feed's polls come from this history from now on. */
  follow(incarnation: string): void {
    this.#incarnation = incarnation;
  }

  /** Calls `onOther` at each answer from another history: it or the feed may be connected to an abandoned server. */
  whenOther(onOther: () => void): void {
    this.#onOther = onOther;
  }

  isOther(row: ProofRow): boolean {
    return this.#incarnation !== undefined && row.incarnation !== this.#incarnation;
  }

  /** @throws DATABASE_UNAVAILABLE where the first row, of PROOF, is a standby's or another history's */
  prove(rows: readonly ProofRow[]): void {
    refuseStandby(rows);
    if (!this.isOther(rows[0]!)) return;
    this.#onOther();
    throw away("the database answers from another history than the change feed follows", OTHER_HISTORY);
  }

  /**
   * The answer of a statement with a proof. Connections to an abandoned server give way one by one, each at its first
   * answer, so that there are at most as many attempts as connections.
   *
   * @throws DATABASE_UNAVAILABLE where the last of them is from another history too, or from a standby
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
   * For what was committed: the feed may have moved to another history meanwhile.
   * @throws DATABASE_UNAVAILABLE then
   */
  proveStill(row: ProofRow): void {
    if (row.incarnation !== null && this.isOther(row)) {
      throw away("the database's history changed; whether the call took effect is unknown", HISTORY_CHANGED);
    }
  }
}
