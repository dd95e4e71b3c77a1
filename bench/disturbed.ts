import { setTimeout as pause } from "node:timers/promises";

/** A fault of the machine, not of an answer: what was measured meanwhile does not count. */
export class Disturbed extends Error {}

const MOST_TRIES = 4;
/** After so long the service asks a Redis again that it had given up. */
const BACK_TO_NORMAL_MS = 2_000;

/** Does the work again where the machine was at fault, a few times; undefined where it always was. */
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
