/**
 * The seeded nemesis: three real processes, a real PostgreSQL with a neighbour, a real Redis, faults drawn by a seed,
 * and a checker that judges the recorded history. `npm run test:nemesis -- --seconds 120 --seed 7`.
 *
 *   run.ts             this command: options, progress, summary, the folder of a failed run
 *   trial.ts           one run from beginning to end
 *   world.ts           processes, servers and links; node.ts: one process; neighbour.ts: others on the same PostgreSQL
 *   near.ts            clients with near verification; near-process.ts: their process
 *   nemesis.ts         draws faults and causes them; fault.ts: what a kind of fault is; faults-*.ts: the kinds
 *   rhythm.ts          when it draws them: storms with calms between
 *   cast.ts            keys, people and limits; work-*.ts: the clients that use them; recorder.ts keeps what they saw
 *   ledger.ts          the database's own record of what was true when, by triggers and commit timestamps
 *   history.ts         the record of a run; truth.ts: what was true when, as the checker reads it from the ledger
 *   check.ts           all rules; check-*.ts: those of verdicts, near verdicts, sessions, limits, repeated revocations,
 *                      watchers, and recovery; pure, with tests
 *   sweep.ts           after all faults: each process against the rows of the database
 *   report.ts          from a history to a summary and to the excerpt that shows a violation
 *   controls.ts        builds with a known fault, each of which a run must report
 */
import { parseArgs } from "node:util";
import { runControls } from "./controls.ts";
import { FAULTS } from "./nemesis.ts";
import { excerptOf, keep, summaryOf } from "./report.ts";
import { runTrial } from "./trial.ts";

const { values } = parseArgs({
  options: {
    seconds: { type: "string", default: "120" },
    seed: { type: "string" },
    /** Keeps the history even if a run has no violation. */
    keep: { type: "boolean", default: false },
    /** Draws only kinds of faults whose name has one of these words, separated by commas. */
    only: { type: "string" },
    /** Draws no kinds of faults whose name has one of these words. */
    without: { type: "string" },
    /** Runs the builds with a known fault instead; with --only, those whose name has the word. */
    controls: { type: "boolean", default: false },
  },
});

const print = (line: string) => void process.stdout.write(`${line}\n`);
const seed = Number(values.seed ?? Math.floor(Math.random() * 1_000_000));
// Otherwise the processes of the run would outlive it.
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(1));
// Node hangs in its cleanup at the end if a request to a killed child was never completed.
process.exit((await (values.controls ? runControls(seed, print, values.only) : main())) ? 0 : 1);

async function main(): Promise<boolean> {
  const seconds = Number(values.seconds);
  const kinds = FAULTS.filter(({ name }) => isChosen(name));
  if (!(seconds > 0) || !Number.isInteger(seed) || kinds.length === 0) {
    print("usage: --seconds N --seed N [--keep] [--only words] [--without words] [--controls]");
    return false;
  }
  print(`seed ${seed}, ${seconds} s, ${kinds.length} kinds of faults`);
  const trial = await runTrial({ seed, seconds, kinds, nodeFlags: [], onProgress: print });
  print(summaryOf(trial));
  const { violations } = trial;
  for (const violation of violations.slice(0, 5)) print(excerptOf(trial.history, violation));
  if (violations.length > 0 || values.keep) print(`history and logs: ${keep(trial, seed)}`);
  if (violations.length > 0) print(`again: npm run test:nemesis -- --seconds ${seconds} --seed ${seed}`);
  return violations.length === 0;
}

function isChosen(name: string): boolean {
  const has = (words: string) => words.split(",").some((word) => name.includes(word));
  return (values.only === undefined || has(values.only)) && (values.without === undefined || !has(values.without));
}
