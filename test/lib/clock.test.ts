import { describe, expect, it } from "vitest";
import { SkippingClock } from "../../src/lib/clock.ts";

function setUp() {
  let [wallMs, monotonicMs] = [1.7e12, 500];
  const clock = new SkippingClock({ nowMs: () => wallMs, monotonicMs: () => monotonicMs });
  clock.elapsedMs();
  return {
    clock,
    run: (ms: number) => {
      wallMs += ms;
      monotonicMs += ms;
    },
    /** The monotonic clock stands still, or the host's clock is set. */
    skip: (ms: number) => {
      wallMs += ms;
    },
  };
}

describe("elapsedMs", () => {
  it("is the monotonic time while the machine is not suspended", () => {
    const { clock, run } = setUp();
    run(86_400_000);
    expect(clock.elapsedMs()).toBe(clock.monotonicMs());
    expect([clock.skippedMs, clock.skippedAtMs]).toEqual([0, Number.NEGATIVE_INFINITY]);
  });

  it("includes the time of a suspension from the first read after it on", () => {
    const { clock, run, skip } = setUp();
    run(10);
    skip(3_600_000);
    run(5);
    expect(clock.elapsedMs()).toBe(500 + 10 + 3_600_000 + 5);
    expect([clock.skippedMs, clock.skippedAtMs]).toEqual([3_600_000, 3_600_515]);
    run(7);
    expect(clock.elapsedMs()).toBe(3_600_522);
    expect(clock.skippedAtMs).toBe(3_600_515);
  });

  it("misses at most a second, even after many short suspensions", () => {
    const { clock, skip } = setUp();
    for (let n = 1; n <= 40; n++) {
      skip(250);
      expect(clock.elapsedMs() - 500).toBeGreaterThanOrEqual(n * 250 - 1000);
      expect(clock.elapsedMs() - 500).toBeLessThanOrEqual(n * 250);
    }
  });

  it("never goes back when the host's clock is set, and still notices a suspension after that", () => {
    const { clock, run, skip } = setUp();
    for (const jumpMs of [-3_600_000, 7_200_000, -5, 5, 900, -900]) {
      const before = clock.elapsedMs();
      run(1);
      skip(jumpMs);
      expect(clock.elapsedMs()).toBeGreaterThan(before);
    }
    skip(-3_600_000);
    const before = clock.elapsedMs();
    skip(2000);
    expect(clock.elapsedMs()).toBe(before + 2000);
  });
});
