/** Waiting in tests: for a condition, for an assertion, or, with a reason, for time to pass. */
import { setTimeout as sleep } from "node:timers/promises";

/** A condition that does not hold after this time never will, even on a slow machine. */
const MOST_MS = 30_000;
const EVERY_MS = 10;

/**
 * Checks every 10 ms until the condition holds.
 *
 * @param what the condition in words, for the error
 * @throws Error after 30 s
 */
export async function until(condition: () => boolean | Promise<boolean>, what = "a condition holds"): Promise<void> {
  const end = performance.now() + MOST_MS;
  while (!(await condition())) {
    if (performance.now() > end) throw new Error(`waited 30 s in vain until ${what}`);
    await sleep(EVERY_MS);
  }
}

/**
 * Repeats `check` every 10 ms until it no longer throws, and returns its result.
 *
 * @throws the last error of `check` after 30 s
 */
export async function eventually<T>(check: () => T | Promise<T>): Promise<T> {
  const end = performance.now() + MOST_MS;
  for (;;) {
    try {
      return await check();
    } catch (error) {
      if (performance.now() > end) throw error;
    }
    await sleep(EVERY_MS);
  }
}

/**
 * Lets real time pass if no condition can show it: for the duration of a load, or to see that nothing happens.
 *
 * @param why what the test waits for
 */
export function letPass(ms: number, _why: string): Promise<void> {
  return sleep(ms);
}
