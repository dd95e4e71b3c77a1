/**
 * The soak: the run of nemesis/ for longer, in storms of faults with calms between, with the memory of each process, a
 * table of all promises, and figures for pictures. `npm run soak -- --minutes 10 --seed 7`.
 *
 *   run.ts        this command: options, signals, progress, the exit code
 *   promises.ts   what a run has judged: each promise with the number of its checks
 *   table.ts      the summary of a run as a table
 *   memory.ts     whether a process grows: the judgement of its samples
 *   scrape.ts     samples of all processes, once a second
 *   exposition.ts Prometheus' text format, as far as a scrape needs it
 *   record.ts     the file of a soak: its lines, for scripts/plots/
 *
 * The exit code is 1 if a promise was broken, and 130 if SIGINT or SIGTERM ended the run.
 */
import { parseArgs } from "node:util";
import { FAULTS } from "../nemesis/nemesis.ts";
import { excerptOf, keep } from "../nemesis/report.ts";
import type { Rhythm } from "../nemesis/rhythm.ts";
import { runTrial, type Trial } from "../nemesis/trial.ts";
import { growthViolations } from "./memory.ts";
import { RecordFile } from "./record.ts";
import { scrapeWorld } from "./scrape.ts";
import { tableOf } from "./table.ts";

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "10" },
    /** Instead of the minutes. */
    seconds: { type: "string" },
    seed: { type: "string" },
    /** Writes the samples and the faults to this file, as JSON lines. */
    "scrape-to": { type: "string" },
    /** Keeps the history even if a run has no violation. */
    keep: { type: "boolean", default: false },
  },
});

const STORM_MS = 40_000;
/** Long enough for the rule of recovery to judge its second half. */
const CALM_MS = 20_000;
const GC_EVERY_MS = 10_000;
/** Each process collects all garbage this often, so that the least of its samples shows what is in use. */
const COLLECTING = ["--expose-gc", `--import=data:text/javascript,setInterval(gc,${GC_EVERY_MS}).unref()`];

const print = (line: string) => void process.stdout.write(`${line}\n`);
const seconds = values.seconds === undefined ? Number(values.minutes) * 60 : Number(values.seconds);
const seed = Number(values.seed ?? Math.floor(Math.random() * 1_000_000));
const stop = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  // A second signal ends everything at once: the processes of the run end with this one.
  process.on(signal, () =>
    stop.signal.aborted ? process.exit(130) : stop.abort(new Error(`${signal} ended the soak`)),
  );
}

if (!(seconds > 0) || !Number.isInteger(seed)) {
  print("usage: --minutes N | --seconds N, --seed N, --scrape-to FILE, --keep");
  process.exitCode = 2;
} else {
  const code = await main().catch((error: unknown) => {
    if (!stop.signal.aborted) throw error;
    print(stop.signal.reason.message);
    return 130;
  });
  // Node hangs in its cleanup at the end if a request to a killed child was never completed.
  process.exit(code);
}

async function main(): Promise<number> {
  const rhythm: Rhythm = { stormMs: STORM_MS, calmMs: CALM_MS, keepsProcessesFromMs: seconds * 500 };
  print(`soak of ${seconds} s with seed ${seed}: ${FAULTS.length} kinds of faults`);
  const record = new RecordFile(values["scrape-to"], { seed, seconds });
  const scrapes = scrapeWorld(record);
  const trial = await runTrial({
    ...{ seed, seconds, kinds: FAULTS, rhythm, nodeFlags: COLLECTING, stop: stop.signal },
    onProgress: print,
    observe: scrapes.begin,
  });
  record.faults(trial.history);
  await record.close();
  const growth = growthViolations(scrapes.memory, trial.history.startedMs);
  const judged: Trial = { ...trial, violations: [...trial.violations, ...growth] };
  print(tableOf(judged, scrapes.memory));
  const { violations, history } = judged;
  for (const violation of violations.slice(0, 5)) print(excerptOf(history, violation));
  if (violations.length > 0 || values.keep) print(`history and logs: ${keep(judged, seed)}`);
  if (violations.length > 0) print(`again: npm run soak -- --seconds ${seconds} --seed ${seed}`);
  return violations.length === 0 ? 0 : 1;
}
