import { setTimeout as pause } from "node:timers/promises";

/** A fault of the machine, not of an answer: the measurement does not count. */
export class Disturbed extends Error {}

const MOST_TRIES = 4;
/** Time after which the service asks a Redis again that it treated as unreachable. */
const BACK_TO_NORMAL_MS = 2_000;

/**
 * Tries the work again while the machine is at fault, MOST_TRIES times in all. @returns undefined if the last try
 * failed too
 */
export async function undisturbed<T>(progress: (line: string) => void, work: () => Promise<T>): Promise<T | undefined> {
  for (let tries = 1; tries <= MOST_TRIES; tries++) {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof Disturbed)) throw error;
      progress(`disturbed, ${tries < MOST_TRIES ? "so once more" : "and left out"}: ${error.message}`);
      await pause(BACK_TO_NORMAL_MS);
    }
  }
  return undefined;
}
