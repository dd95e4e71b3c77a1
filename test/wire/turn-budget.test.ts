import { describe, expect, it } from "vitest";
import { TurnBudget } from "../../src/rpc/calls/turn-budget.ts";

/** Begins one step for each of these holders at once. Returns the holders whose step began in each turn. */
async function turnsOf(holders: readonly string[]): Promise<string[][]> {
  const budget = new TurnBudget();
  const begun: string[] = [];
  const steps = holders.map((holder) => budget.begin([holder]).then(() => begun.push(holder)));
  const turns: string[][] = [];
  while (begun.length < holders.length) {
    await new Promise((resolve) => setImmediate(resolve));
    turns.push(begun.slice(turns.flat().length));
  }
  await Promise.all(steps);
  return turns.filter((turn) => turn.length > 0);
}

describe("the budget of a turn", () => {
  it("lets four steps begin in one turn, and the others in the next ones", async () => {
    const turns = await turnsOf(Array(10).fill("a"));
    expect(turns.map(({ length }) => length)).toEqual([4, 4, 2]);
  });

  it("serves one client's step before the many steps of another, although it came last", async () => {
    const turns = await turnsOf([...Array(100).fill("hog"), "single"]);
    expect(turns.findIndex((turn) => turn.includes("single"))).toBe(1);
  });

  it("refuses one more step to a holder of 8,000 waiting steps", async () => {
    const budget = new TurnBudget();
    const steps = Array.from({ length: 8004 }, () => budget.begin(["hog"]));
    await expect(budget.begin(["hog"])).resolves.toBe(false);
    expect(budget.refused).toBe(1);
    const outcomes = await Promise.all(steps);
    expect(outcomes.every((hasBegun) => hasBegun)).toBe(true);
  });

  it("gives no turn to a step whose wait was ended, and answers that step immediately", async () => {
    const budget = new TurnBudget();
    const ends: (() => void)[] = [];
    const steps = Array.from({ length: 8 }, () => budget.begin(["a"], (endWait) => ends.push(endWait)));
    // The first four steps began immediately, and need no way to end a wait.
    expect(ends).toHaveLength(4);
    for (const endWait of ends) endWait();
    const last = budget.begin(["a"]);
    expect(await Promise.all(steps)).toEqual([true, true, true, true, false, false, false, false]);
    await expect(last).resolves.toBe(true);
    expect(budget.refused).toBe(0);
  });

  it("runs steps without a promise: the steps of one turn immediately, and the others in the next turns", async () => {
    const budget = new TurnBudget({ stepsPerTurn: 3 });
    const ran: number[] = [];
    for (let n = 0; n < 8; n++) budget.run(["a"], () => ran.push(n));
    const after = [ran.length];
    while (ran.length < 8) {
      await new Promise((resolve) => setImmediate(resolve));
      after.push(ran.length);
    }
    expect(after.filter((count, at) => count !== after[at - 1])).toEqual([3, 6, 8]);
    expect(budget.waiting).toBe(0);
  });

  it("runs a step immediately if too many wait, because it must not be lost", () => {
    const budget = new TurnBudget({ stepsPerTurn: 1, maxWaiting: 1 });
    const ran: number[] = [];
    for (let n = 0; n < 3; n++) budget.run(["a"], () => ran.push(n));
    expect(ran).toEqual([0, 2]);
  });
});
