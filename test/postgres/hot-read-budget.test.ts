import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { HOT_READ_BUDGET } from "../../src/postgres/hot-read-budget.ts";

const { STATEMENT_MS, SILENCE_MS, ANSWER_MS, GROUPED_MS, CALLER_MS } = HOT_READ_BUDGET;

describe("the budget of a hot read", () => {
  it("gives each step more time than the step that it contains", () => {
    const steps = [STATEMENT_MS, SILENCE_MS, ANSWER_MS, GROUPED_MS, CALLER_MS];
    expect(steps).toEqual(steps.toSorted((a, b) => a - b));
    expect(new Set(steps).size).toBe(steps.length);
  });

  it("is what docs/ARCHITECTURE.md quotes", () => {
    const text = readFileSync(new URL("../../docs/ARCHITECTURE.md", import.meta.url), "utf8").replace(/\s+/g, " ");
    const quoted = [STATEMENT_MS, ANSWER_MS, GROUPED_MS, CALLER_MS].map((ms) => `${ms} ms`);
    expect(text).toMatch(new RegExp(quoted.join("[^#]{1,300}")));
  });
});
