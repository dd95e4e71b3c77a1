/**
 * A process of 50 callers that verify keys by one candidate, as a program that serves requests does. `measureClients`
 * forks it, so that its CPU time is its own. `calling.ts CANDIDATE`
 */
import { setImmediate as nextTurn } from "node:timers/promises";
import { CANDIDATES, type Target } from "./candidates.ts";

/** The first message to the process. It answers "ready". */
export interface Start extends Target {
  /** Keys without limits, all good. */
  readonly keys: readonly string[];
}

/** A later message. The process answers with `Done`. */
export interface Load {
  readonly verdicts: number;
}

export interface Done {
  readonly seconds: number;
  /** Calls that these verdicts took. */
  readonly calls: number;
  /** The error that ended it; then the figure does not count. */
  readonly fault?: string;
}

const CALLERS = 50;
/**
 * Verdicts of one caller between two turns of the event loop, as between requests. A cache that answers by a settled
 * promise would otherwise keep the loop for itself, and with it the timers by which it ages.
 */
const VERDICTS_IN_TURN = 50;

process.once("message", async ({ keys, ...target }: Start) => {
  const candidate = await CANDIDATES[process.argv[2]!]!(target);
  process.on("message", async ({ verdicts }: Load) => {
    const [startMs, callsBefore] = [performance.now(), candidate.calls()];
    let left = verdicts;
    const caller = async (_: unknown, first: number) => {
      for (let at = first; left > 0; at++) {
        left--;
        if (!(await candidate.verify(keys[at % keys.length]!))) throw new Error("a good key was refused");
        if (at % VERDICTS_IN_TURN === 0) await nextTurn();
      }
    };
    try {
      await Promise.all(Array.from({ length: CALLERS }, caller));
      const seconds = (performance.now() - startMs) / 1000;
      process.send!({ seconds, calls: candidate.calls() - callsBefore } satisfies Done);
    } catch (error) {
      process.send!({ seconds: 0, calls: 0, fault: String(error) } satisfies Done);
    }
  });
  process.send!("ready");
});
process.once("disconnect", () => process.exit());
