import { type ChildProcess, spawn } from "node:child_process";
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Mutant } from "../simulation/mutant.ts";

const root = join(import.meta.dirname, "../..");
/** The files and folders that the tests of mutants read. */
const PARTS = [
  ...["src", "client/src", "cli/src", "cli/package.json", "test", "docs", "proto", "third_party", "package.json"],
  "vitest.config.ts",
];
/** The contract suites hold both databases to the same: the tests on PostgreSQL alone find a mutant. */
const NOT_ON_EMBEDDED = String.raw`^(?!\S+( and \S+)? on embedded)`;
const VITEST = ["node_modules/vitest/vitest.mjs", "run", "--project=mutation", `--testNamePattern=${NOT_ON_EMBEDDED}`];
/** Longer than any file of tests takes here; a mutant that makes tests wait for ever is ended then. */
const MOST_MS = 120_000;

/** The result of some test files. */
export type Outcome =
  | { readonly kind: "passed" }
  /** The full name of the first test that failed. */
  | { readonly kind: "failed"; readonly test: string }
  /** No test failed and yet it was not good: a file could not be loaded, a service did not start, time ran out. */
  | { readonly kind: "broken"; readonly what: string };

interface Report {
  readonly success: boolean;
  readonly numPassedTests: number;
  readonly testResults: readonly {
    readonly message: string;
    readonly assertionResults: readonly { readonly status: string; readonly fullName: string }[];
  }[];
}

/** A copy of the sources that mutants are made of, so that nothing ever happens to the sources themselves. */
export class ScratchCopy {
  readonly #folder = mkdtempSync(join(tmpdir(), "latchkey-mutation-"));
  readonly #provided: string;
  #running: ChildProcess | undefined;

  /** @param provided what the run's servers are, as global-setup.ts provides it */
  constructor(provided: Readonly<Record<string, unknown>>) {
    this.#provided = JSON.stringify(provided);
    for (const part of PARTS) cpSync(join(root, part), join(this.#folder, part), { recursive: true });
    // The command has packages of its own, in other versions than the root's.
    for (const packages of ["node_modules", "cli/node_modules"]) {
      symlinkSync(join(root, packages), join(this.#folder, packages));
    }
  }

  remove(): void {
    this.#running?.kill("SIGKILL");
    rmSync(this.#folder, { recursive: true, force: true });
  }

  /** Runs the tests against the mutant, one file after the other up to the first that fails. */
  async judge(mutant: Mutant & { readonly tests: readonly string[] }): Promise<Outcome> {
    const path = join(this.#folder, mutant.file);
    const original = readFileSync(path, "utf8");
    writeFileSync(path, original.split(mutant.search).join(mutant.replacement));
    try {
      for (const test of mutant.tests) {
        const outcome = await this.run(test);
        if (outcome.kind !== "passed") return outcome;
      }
      return { kind: "passed" };
    } finally {
      writeFileSync(path, original);
    }
  }

  /** Runs a test file against the copy as it is. */
  async run(test: string): Promise<Outcome> {
    const reportFile = join(this.#folder, "report.json");
    rmSync(reportFile, { force: true });
    const output = await this.#vitest([test, "--reporter=json", `--outputFile=${reportFile}`]);
    if (!existsSync(reportFile)) return { kind: "broken", what: `no report: ${lastLine(output)}` };
    const report = JSON.parse(readFileSync(reportFile, "utf8")) as Report;
    const failed = report.testResults
      .flatMap((file) => file.assertionResults)
      .find(({ status }) => status === "failed");
    if (failed !== undefined) return { kind: "failed", test: failed.fullName };
    if (report.success && report.numPassedTests > 0) return { kind: "passed" };
    return { kind: "broken", what: lastLine(report.testResults.map(({ message }) => message).join("\n") || output) };
  }

  #vitest(args: readonly string[]): Promise<string> {
    const child = spawn(process.execPath, [...VITEST, ...args], {
      cwd: this.#folder,
      env: { ...process.env, MUTATION_PROVIDED: this.#provided },
      timeout: MOST_MS,
      killSignal: "SIGKILL",
    });
    this.#running = child;
    let output = "";
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (data) => (output += data));
    return new Promise((resolve) => child.on("close", () => resolve(output)));
  }
}

function lastLine(text: string): string {
  return text.trim().split("\n").at(-1) ?? "";
}
