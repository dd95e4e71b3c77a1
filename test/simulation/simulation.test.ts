import { describe, expect, it } from "vitest";
import { simulate } from "./simulate.ts";

/** Some of the seeds that `npm run test:simulation` runs. */
const SEEDS = 40;

describe("the simulation", () => {
  it(`finds nothing wrong in ${SEEDS} runs`, async () => {
    for (let seed = 1; seed <= SEEDS; seed++) {
      const fault = await simulate(seed);
      expect(fault, `seed ${seed}`).toBeUndefined();
    }
    // Two seconds of work, on a machine that may be busy.
  }, 60_000);
});
