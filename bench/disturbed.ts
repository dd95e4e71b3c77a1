import { setTimeout as pause } from "node:timers/promises";

/** A fault of the machine, not of an answer: the measurement does not count. */
export class Disturbed extends Error {}

const MOST_TRIES = 4;
/** Time after which the service asks a Redis again that it treated as unreachable. */
const BACK_TO_NORMAL_MS = 2_000;

/** Repeats the work while the machine is at fault, at most MOST_TRIES times; undefined if it always was. */
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
