import { systemClock } from "../../lib/clock.ts";
import type { Database, HotRead, Row } from "../database.ts";
import { HOT_READ_BUDGET } from "../hot-read-budget.ts";
import { arrayLiteral } from "../row.ts";

/** One kind of record that is read by its id. */
export interface RecordsById<R> {
  /** The statement that reads the records. Its one parameter: their ids, as a text[] literal. */
  readonly sql: string;
  /** The records in the rows of that statement, by id. */
  toRecords(rows: readonly Row[]): ReadonlyMap<string, R>;
  /** Maximum statements under way at the same time. */
  readonly maxUnderWay: number;
}

/** The records that exist, in the order of the ids. */
export interface GroupedRead<R> {
  readonly records: readonly R[];
  readonly databaseMs: number;
}

/** Maximum ids of one statement, unless one caller asks for more. */
const MAX_GROUP = 256;

interface Waiting<R> {
  readonly ids: readonly string[];
  readonly sinceMs: number;
  readonly resolve: (read: GroupedRead<R>) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * The hot read of one kind of record, with DataLoader-style batching. One statement reads all ids that callers ask for
 * in one event-loop tick, or while earlier statements are under way. A process that starts under load misses hundreds
 * of records at once. Read one by one, they would wait for connections until that looks like an outage.
 *
 * A statement is sent after each of its callers has asked, so it sees everything that was committed before.
 */
export class GroupedReads<R> {
  readonly #database: Pick<Database, "hotRead" | "inTime">;
  readonly #kind: RecordsById<R>;
  #waiting: Waiting<R>[] = [];
  #underWay = 0;

  constructor(database: Pick<Database, "hotRead" | "inTime">, kind: RecordsById<R>) {
    this.#database = database;
    this.#kind = kind;
  }

  /** @throws DATABASE_UNAVAILABLE within HOT_READ_BUDGET.GROUPED_MS, except on the embedded database */
  read(ids: readonly string[]): Promise<GroupedRead<R>> {
    const { promise, resolve, reject } = Promise.withResolvers<GroupedRead<R>>();
    if (this.#waiting.length === 0) setImmediate(() => this.#send());
    this.#waiting.push({ ids, sinceMs: systemClock.monotonicMs(), resolve, reject });
    return this.#database.inTime(promise, HOT_READ_BUDGET.GROUPED_MS);
  }

  #send(): void {
    const { maxUnderWay } = this.#kind;
    while (this.#waiting.length > 0 && this.#underWay < maxUnderWay) void this.#readGroup(this.#takeGroup());
  }

  #takeGroup(): readonly Waiting<R>[] {
    let [size, callers] = [0, 0];
    for (const { ids } of this.#waiting) {
      if (callers > 0 && size + ids.length > MAX_GROUP) break;
      size += ids.length;
      callers++;
    }
    return this.#waiting.splice(0, callers);
  }

  async #readGroup(group: readonly Waiting<R>[]): Promise<void> {
    this.#underWay++;
    try {
      const ids = new Set(group.flatMap((one) => one.ids));
      const waitedMs = systemClock.monotonicMs() - group[0]!.sinceMs;
      this.#answer(group, await this.#database.hotRead(this.#kind.sql, [arrayLiteral(ids)], waitedMs));
    } catch (error) {
      // Callers that still wait fail too: their statement would be lost as well, only later, and the times would add
      // up.
      for (const one of [...group, ...this.#waiting.splice(0)]) one.reject(error);
    } finally {
      this.#underWay--;
      this.#send();
    }
  }

  #answer(group: readonly Waiting<R>[], { rows, databaseMs }: HotRead): void {
    const found = this.#kind.toRecords(rows);
    for (const { ids, resolve } of group) {
      const records = ids.map((id) => found.get(id)).filter((record) => record !== undefined);
      resolve({ records, databaseMs });
    }
  }
}
