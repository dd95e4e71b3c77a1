/** Time of work that must not grow out of proportion: compared within one run, because machines differ and are busy. */

/** The shortest of 30 runs, in milliseconds. Other load on the machine makes a run longer, never shorter. */
export function quickestMs(work: () => void): number {
  const times = Array.from({ length: 30 }, () => {
    const startMs = performance.now();
    work();
    return performance.now() - startMs;
  });
  return Math.min(...times);
}
