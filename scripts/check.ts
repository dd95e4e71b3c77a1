/**
 * `npm run check`: every check that needs no service, in order. Each prints one line with its time, and a failed one
 * prints its output below. All checks run, even after one that failed. The exit code is 1 if any failed.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pluginFault } from "./openapi/plugin.ts";

interface Outcome {
  readonly passed: boolean;
  /** The step did not run, because this machine lacks a tool. In CI it fails instead. */
  readonly skipped?: boolean;
  readonly output: string;
}

const root = join(import.meta.dirname, "..");
const scratch = mkdtempSync(join(tmpdir(), "latchkey-check-"));

const DESCRIPTION = "src/rpc/standard/openapi.json";

const STEPS: readonly (readonly [name: string, step: () => Outcome])[] = [
  ["format and lint", () => run("biome", "check", ".")],
  ["packages", () => run("node", "scripts/build-packages.cjs")],
  ["the client's package", () => run("publint", "client", "--strict")],
  ["the command's package", () => run("publint", "cli", "--strict")],
  ["the client's exports", () => run("attw", "--pack", "client", "--profile", "esm-only")],
  ["types", () => run("tsc", "--noEmit")],
  ["types of the page", () => run("tsc", "--noEmit", "--project", "examples/browser")],
  ["proto format", () => run("buf", "format", "proto", "--diff", "--exit-code")],
  ["proto lint", () => run("buf", "lint")],
  ["proto breaking", () => run("buf", "breaking", "proto", "--against", "proto/latchkey.v1.binpb")],
  ["generated code", () => generatedCode()],
  ["generated docs", () => generatedDocs()],
  ["the REST description", () => restDescription()],
  ["the REST description, by openapi-spec-validator", () => optional("openapi-spec-validator", DESCRIPTION)],
  ["the REST description, by redocly", () => optional("redocly", "lint", DESCRIPTION)],
  ["floors and prose", () => run("vitest", "run", "--project", "tidy", "--reporter=dot")],
];

let failures = 0;
for (const [name, step] of STEPS) {
  const start = performance.now();
  const { passed, skipped, output } = step();
  if (!passed) failures++;
  const seconds = ((performance.now() - start) / 1000).toFixed(1).padStart(6);
  const word = passed ? (skipped ? "SKIP" : "ok  ") : "FAIL";
  process.stdout.write(`${word} ${seconds} s  ${name}\n${word === "ok  " ? "" : `${output}\n`}`);
}
rmSync(scratch, { recursive: true, force: true });
process.exitCode = failures === 0 ? 0 : 1;

function generatedCode(): Outcome {
  const made = run("buf", "generate", "--output", scratch);
  return made.passed ? same(join(scratch, "src/gen"), join(root, "src/gen")) : made;
}

function generatedDocs(): Outcome {
  const [written, chart] = [join(scratch, "docs"), join(scratch, "chart")];
  const made = run("node", "scripts/generate-docs.ts", written, chart);
  if (!made.passed) return made;
  const docs = same(written, join(root, "docs"), readdirSync(written));
  return docs.passed ? same(chart, join(root, "deploy/chart/latchkey"), readdirSync(chart)) : docs;
}

function restDescription(): Outcome {
  const fault = pluginFault();
  if (fault !== undefined) return missing(fault);
  const made = run("node", "scripts/openapi/generate.ts", join(scratch, "openapi.json"));
  const kept = join(root, "src/rpc/standard");
  return made.passed ? same(scratch, kept, ["openapi.json"], "npm run generate:openapi") : made;
}

/** Runs a program that .ci/run installs, and that a laptop may lack. */
function optional(command: string, ...args: readonly string[]): Outcome {
  const isThere = spawnSync(command, ["--version"], { stdio: "ignore" }).error === undefined;
  return isThere ? run(command, ...args) : missing(`${command} is not in PATH; .ci/run has its version`);
}

function missing(advice: string): Outcome {
  return { passed: !process.env.CI, skipped: true, output: advice };
}

/** Whether the files are the same in both folders; compares all files of both if none are named. */
function same(
  fresh: string,
  kept: string,
  files = [...new Set([...filesIn(fresh), ...filesIn(kept)])],
  script = "npm run generate",
): Outcome {
  const changed = files.filter((file) => contents(join(fresh, file)) !== contents(join(kept, file)));
  const output = `${changed.map((file) => join(kept, file)).join("\n")}\ndiffers from its source: ${script}`;
  return { passed: changed.length === 0, output };
}

function filesIn(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((file) =>
    statSync(join(folder, file)).isFile(),
  );
}

function contents(file: string): string | undefined {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return undefined;
  }
}

/** Runs a program. The programs of this project are found because npm puts node_modules/.bin into PATH. */
function run(command: string, ...args: readonly string[]): Outcome {
  const env = { ...process.env, NO_COLOR: "1", REDOCLY_TELEMETRY: "off", REDOCLY_SUPPRESS_UPDATE_NOTICE: "true" };
  const { status, stdout, stderr, error } = spawnSync(command, args, { cwd: root, env, encoding: "utf8" });
  return { passed: status === 0, output: error === undefined ? `${stdout}${stderr}` : `${command}: ${error.message}` };
}
