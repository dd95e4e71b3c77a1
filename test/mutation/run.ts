/**
 * Puts one fault after another into a copy of the sources and sees whether a test fails: `node test/mutation/run.ts
 * [--only text] [--sample N --seed S]`. A sample is spread evenly over the list, and each seed takes others. Exits with
 * 1 where fewer than 85 % are found, the tests are not green without a mutant, or a mutant is not where it says.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { startServers } from "../support/global-setup.ts";
import { canStart, missingServersLine, type ServerKind } from "../support/shared-servers.ts";
import { MUTANTS } from "./mutants.ts";
import { type Outcome, ScratchCopy } from "./scratch-copy.ts";
import type { TestedMutant } from "./tested-mutant.ts";

const LEAST_PERCENT = 85;
/** At a time. A test file keeps about one core busy. */
const LANES = 2;

const { values } = parseArgs({
  options: {
    only: { type: "string", default: "" },
    sample: { type: "string" },
    seed: { type: "string", default: "0" },
  },
});

const mutants = chosen();
const faults = [...MUTANTS.flatMap(faultsOf), ...missingServers()];
if (mutants.length === 0) faults.push("no mutant is called so");
print(...faults);
process.exitCode = faults.length === 0 && (await main()) ? 0 : 1;

async function main(): Promise<boolean> {
  const startedAtMs = performance.now();
  const provided: Record<string, unknown> = {};
  const stopServers = await startServers((name, value) => {
    provided[name] = value;
  });
  const copies = Array.from({ length: LANES }, () => new ScratchCopy(provided));
  const removeCopies = () => {
    for (const copy of copies) copy.remove();
  };
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.once(signal, () => {
      removeCopies();
      process.exit(1);
    });
  }
  try {
    if (!(await controlIsGreen(copies))) return false;
    const survivors = await judgeAll(copies);
    const killed = mutants.length - survivors.length;
    const percent = (100 * killed) / mutants.length;
    print(...survivors.map(({ name, file, why }) => `survived: ${name} (${file}): ${why}`));
    print(`killed ${killed} of ${mutants.length} (${percent.toFixed(1)} %) in ${seconds(startedAtMs)}`);
    return percent >= LEAST_PERCENT;
  } finally {
    removeCopies();
    await stopServers();
  }
}

/**
 * All the tests that mutants name, without a mutant: what fails then would be no mutant's doing. A file that failed
 * beside others is run once more alone, since a busy machine breaks bounds of time; the run says so.
 */
async function controlIsGreen(copies: readonly ScratchCopy[]): Promise<boolean> {
  const startedAtMs = performance.now();
  const tests = [...new Set(mutants.flatMap((mutant) => mutant.tests))];
  const suspects: string[] = [];
  await onEach(copies, tests, async (copy, test) => {
    const outcome = await copy.run(test);
    if (outcome.kind === "passed") return;
    suspects.push(test);
    print(`without a mutant ${test} is not green: ${wordsOf(outcome)}`);
  });
  let red = 0;
  await onEach(copies.slice(0, 1), suspects, async (copy, test) => {
    const outcome = await copy.run(test);
    if (outcome.kind !== "passed") red++;
    print(`alone, ${test}: ${wordsOf(outcome)}`);
  });
  print(`control, ${tests.length} test files without a mutant: ${red} not green (${seconds(startedAtMs)})`);
  return red === 0;
}

/** @returns those that no test found */
async function judgeAll(copies: readonly ScratchCopy[]): Promise<readonly TestedMutant[]> {
  const survivors: TestedMutant[] = [];
  let done = 0;
  await onEach(copies, mutants, async (copy, mutant) => {
    const startedAtMs = performance.now();
    const outcome = await copy.judge(mutant);
    if (outcome.kind !== "failed") survivors.push(mutant);
    const place = `${++done}/${mutants.length} ${mutant.file}: ${mutant.name}`;
    print(`${place}: ${wordsOf(outcome)} (${seconds(startedAtMs)})`);
  });
  return survivors;
}

/** One item at a time in each copy. */
async function onEach<T>(
  copies: readonly ScratchCopy[],
  items: readonly T[],
  work: (copy: ScratchCopy, item: T) => Promise<void>,
): Promise<void> {
  const waiting = items.values();
  await Promise.all(
    copies.map(async (copy) => {
      for (const item of waiting) await work(copy, item);
    }),
  );
}

function chosen(): readonly TestedMutant[] {
  const named = MUTANTS.filter(({ name, file }) => `${file} ${name}`.includes(values.only));
  const size = Math.min(Number(values.sample ?? named.length), named.length);
  const stride = named.length / size;
  const offset = Number(values.seed) % Math.ceil(stride);
  return Array.from({ length: size }, (_, nth) => named[Math.floor(nth * stride + offset) % named.length]!);
}

function faultsOf({ name, file, search }: TestedMutant): string[] {
  const times = readFileSync(join(import.meta.dirname, "../..", file), "utf8").split(search).length - 1;
  return times === 1 ? [] : [`${name}: what it replaces occurs ${times} times in ${file}, not once`];
}

/** Half of the tests need them: a run without would find nothing and say that nothing was found. */
function missingServers(): string[] {
  const line = missingServersLine((["postgres", "redis"] as ServerKind[]).filter((kind) => !canStart(kind)));
  return line === undefined ? [] : [line.trim()];
}

function wordsOf(outcome: Outcome): string {
  switch (outcome.kind) {
    case "passed":
      return "no test failed";
    case "failed":
      return `failed "${outcome.test}"`;
    case "broken":
      return `no test failed, but: ${outcome.what}`;
    default:
      return outcome satisfies never;
  }
}

function seconds(sinceMs: number): string {
  return `${((performance.now() - sinceMs) / 1000).toFixed(1)} s`;
}

function print(...lines: readonly string[]): void {
  for (const line of lines) process.stdout.write(`${line}\n`);
}
