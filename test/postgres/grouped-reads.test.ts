import { afterEach, describe, expect, it, vi } from "vitest";
import { whenSilent } from "../../src/lib/when-silent.ts";
import type { HotRead } from "../../src/postgres/database.ts";
import { HOT_READ_BUDGET } from "../../src/postgres/hot-read-budget.ts";
import { GroupedReads } from "../../src/postgres/rows/grouped-reads.ts";

const kind = {
  sql: "",
  toRecords: (rows: HotRead["rows"]) => new Map(rows.map(({ id }) => [id as string, id as string])),
  maxUnderWay: 1,
};

/** Statements that answer when the test tells them to, on a database with the timeouts of Database. */
function setUp() {
  const statements: { readonly ids: string[]; readonly answer: () => void; readonly fail: () => void }[] = [];
  const inTime = <T>(answer: Promise<T>, patienceMs: number): Promise<T> => {
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    whenSilent(answer, patienceMs, () => reject(new Error("given up")));
    answer.then(resolve, reject);
    return promise;
  };
  const hotRead = (_sql: string, [ids]: readonly unknown[]): Promise<HotRead> => {
    const asked = `${ids}`.replace(/[{}"]/g, "").split(",");
    const { promise, resolve, reject } = Promise.withResolvers<HotRead>();
    const answer = () => resolve({ rows: asked.map((id) => ({ id })), databaseMs: 0 });
    statements.push({ ids: asked, answer, fail: () => reject(new Error("unreachable")) });
    return inTime(promise, HOT_READ_BUDGET.ANSWER_MS);
  };
  return { reads: new GroupedReads<string>({ hotRead, inTime }, kind), statements };
}

afterEach(() => void vi.useRealTimers());

const turn = () => new Promise((resolve) => setImmediate(resolve));

describe("GroupedReads", () => {
  it("reads all ids of one event-loop tick in one statement, and all that come during statements in another one", async () => {
    const { reads, statements } = setUp();
    const first = [reads.read(["a"]), reads.read(["b"])];
    await turn();
    const second = [reads.read(["c"]), reads.read(["d", "a"])];
    await turn();
    statements[0]!.answer();
    expect((await Promise.all(first)).map(({ records }) => records)).toEqual([["a"], ["b"]]);
    statements[1]!.answer();
    expect((await Promise.all(second)).map(({ records }) => records)).toEqual([["c"], ["d", "a"]]);
    expect(statements.map(({ ids }) => ids)).toEqual([
      ["a", "b"],
      ["c", "d", "a"],
    ]);
  });

  it("fails callers that wait behind a failed statement, and sends what is asked for later", async () => {
    const { reads, statements } = setUp();
    const first = reads.read(["a"]).catch((error: Error) => error.message);
    await turn();
    const second = reads.read(["b"]).catch((error: Error) => error.message);
    await turn();
    statements[0]!.fail();
    expect(await Promise.all([first, second])).toEqual(["unreachable", "unreachable"]);
    const third = reads.read(["c"]);
    await turn();
    statements[1]!.answer();
    expect((await third).records).toEqual(["c"]);
    expect(statements.map(({ ids }) => ids)).toEqual([["a"], ["c"]]);
  });

  it("reads at most 256 records with a statement, unless one caller asks for more", async () => {
    const { reads, statements } = setUp();
    const ids = (count: number, name: string) => Array.from({ length: count }, (_, n) => `${name}${n}`);
    const all = [...ids(300, "a").map((id) => reads.read([id])), reads.read(ids(400, "b"))];
    for (const at of [0, 1, 2]) {
      await turn();
      statements[at]!.answer();
    }
    await Promise.all(all);
    expect(statements.map((statement) => statement.ids.length)).toEqual([256, 44, 400]);
  });

  it("fails a caller after 260 ms in total, even behind a slow statement that was answered", async () => {
    vi.useFakeTimers();
    const { reads, statements } = setUp();
    const first = reads.read(["a"]);
    await vi.advanceTimersByTimeAsync(1);
    const startMs = Date.now();
    const second = reads.read(["b"]).catch((error: Error) => [error.message, Date.now() - startMs]);
    await vi.advanceTimersByTimeAsync(180);
    statements[0]!.answer();
    await first;
    await vi.advanceTimersByTimeAsync(1000);
    expect(statements.map(({ ids }) => ids)).toEqual([["a"], ["b"]]);
    // The event-loop tick that may still bring the answer is 1 ms here.
    expect(await second).toEqual(["given up", 261]);
  });
});
