import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";

/** Runs one seed. @returns the first fault, without the seed; undefined if there was none */
export type Simulate = (seed: number) => Promise<string | undefined>;

/** The seeds of one thread. */
interface Share {
  readonly from: number;
  readonly until: number;
  readonly step: number;
}

type Report = { readonly done: number } | { readonly seed: number; readonly fault: string };

const REPORT_EVERY = 100;
const PROGRESS_EVERY = 2000;

/**
 * The body of a simulation's run.ts: runs many seeds on all cores, as its options `--seeds 10000 [--from 1] [--stop]`
 * say. Prints each failure with its seed; `--from <seed> --seeds 1` runs it again. Exits with 1 if there was a failure,
 * with `--stop` at the first.
 *
 * @param entry the URL of run.ts, which each thread runs again
 */
export async function runSeeds(entry: string, simulate: Simulate): Promise<void> {
  if (isMainThread) await main(new URL(entry));
  else await work(workerData as Share, simulate);
}

async function main(entry: URL): Promise<void> {
  const { values } = parseArgs({
    options: {
      seeds: { type: "string", default: "10000" },
      from: { type: "string", default: "1" },
      stop: { type: "boolean", default: false },
    },
  });
  const from = Number(values.from);
  const until = from + Number(values.seeds);
  const startedAtMs = performance.now();
  let [done, failures, told] = [0, 0, 0];
  const onReport = (report: Report) => {
    if ("fault" in report) {
      failures++;
      print(`seed ${report.seed}: ${report.fault}`);
      if (values.stop) process.exit(1);
      return;
    }
    done += report.done;
    if (done < told + PROGRESS_EVERY) return;
    told = done;
    print(`${done} of ${until - from} seeds, ${failures} failures`);
  };
  const threads = Math.min(availableParallelism(), until - from);
  await Promise.all(
    Array.from({ length: threads }, (_, at) => runThread(entry, { from: from + at, until, step: threads }, onReport)),
  );
  const seconds = ((performance.now() - startedAtMs) / 1000).toFixed(1);
  print(`${until - from} seeds in ${seconds} s, ${failures} failures`);
  process.exitCode = failures === 0 ? 0 : 1;
}

function runThread(entry: URL, share: Share, onReport: (report: Report) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(entry, { workerData: share });
    worker.on("message", onReport);
    worker.on("error", reject);
    worker.on("exit", () => resolve());
  });
}

async function work({ from, until, step }: Share, simulate: Simulate): Promise<void> {
  const report = (message: Report) => parentPort!.postMessage(message);
  let done = 0;
  for (let seed = from; seed < until; seed += step) {
    const fault = await simulate(seed);
    if (fault !== undefined) report({ seed, fault });
    if (++done < REPORT_EVERY) continue;
    report({ done });
    done = 0;
  }
  report({ done });
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}
