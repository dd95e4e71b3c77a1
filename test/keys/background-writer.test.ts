import { describe, expect, it } from "vitest";
import { BackgroundWriter } from "../../src/keys/background-writer.ts";

function setUp() {
  const state = { waiting: [] as number[], isAway: false, underWay: 0 };
  const told: unknown[] = [];
  const writer = new BackgroundWriter<number>({
    take: (isLast) => {
      told.push(isLast ? "takes all" : "takes");
      return state.waiting.splice(0);
    },
    chunk: 2,
    write: async (some) => {
      expect(state.underWay++, "one write at a time").toBe(0);
      await new Promise((resolve) => setImmediate(resolve));
      state.underWay--;
      if (state.isAway && some.includes(3)) throw new Error("away");
      told.push(some);
    },
    onFailed: (left) => {
      told.push({ left });
      state.waiting.push(...left);
    },
    onFlushed: () => told.push("flushed"),
  });
  return { writer, state, told };
}

describe("the background writer", () => {
  it("writes a flush in chunks, one after another, even if the next flush is requested meanwhile", async () => {
    const { writer, state, told } = setUp();
    state.waiting = [1, 2, 3];
    const first = writer.flush();
    await Promise.resolve();
    state.waiting = [4];
    await Promise.all([first, writer.stop()]);
    expect(told).toEqual(["takes", [1, 2], [3], "flushed", "takes all", [4], "flushed"]);
  });

  it("hands back items that can't be written with all that follow, and the next flush works", async () => {
    const { writer, state, told } = setUp();
    state.waiting = [1, 2, 3, 4, 5];
    state.isAway = true;
    await writer.flush();
    state.isAway = false;
    await writer.flush();
    expect(writer.failures).toBe(1);
    expect(told).toEqual(["takes", [1, 2], { left: [3, 4, 5] }, "flushed", "takes", [3, 4], [5], "flushed"]);
  });
});
