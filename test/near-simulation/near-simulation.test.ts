import { describe, expect, it } from "vitest";
import { simulateNear } from "./simulate.ts";

/** Some of the seeds that `npm run test:near-simulation` runs. */
const SEEDS = 50;

describe("the near simulation", () => {
  it(`finds nothing wrong in ${SEEDS} runs`, async () => {
    for (let seed = 1; seed <= SEEDS; seed++) {
      const fault = await simulateNear(seed);
      expect(fault, `seed ${seed}`).toBeUndefined();
    }
    // Four seconds of work, on a machine that may be busy.
  }, 60_000);
});
