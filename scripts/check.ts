/**
 * `npm run check`: every check that needs no service, in order. Each prints one line with its time, and a failed one
 * prints its output below. All checks run, even after one that failed. The exit code is 1 if any failed.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

interface Outcome {
  readonly passed: boolean;
  readonly output: string;
}

const root = join(import.meta.dirname, "..");
const scratch = mkdtempSync(join(tmpdir(), "latchkey-check-"));

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
  ["floors and prose", () => run("vitest", "run", "--project", "tidy", "--reporter=dot")],
];

let failures = 0;
for (const [name, step] of STEPS) {
  const start = performance.now();
  const { passed, output } = step();
  if (!passed) failures++;
  const seconds = ((performance.now() - start) / 1000).toFixed(1).padStart(6);
  process.stdout.write(`${passed ? "ok  " : "FAIL"} ${seconds} s  ${name}\n${passed ? "" : `${output}\n`}`);
}
rmSync(scratch, { recursive: true, force: true });
process.exitCode = failures === 0 ? 0 : 1;

function generatedCode(): Outcome {
  const made = run("buf", "generate", "--output", scratch);
  return made.passed ? same(join(scratch, "src/gen"), join(root, "src/gen")) : made;
}

function generatedDocs(): Outcome {
  const made = run("node", "scripts/generate-docs.ts", join(scratch, "docs"));
  if (!made.passed) return made;
  const written = join(scratch, "docs");
  return same(written, join(root, "docs"), readdirSync(written));
}

/** Whether the files are the same in both folders; compares all files of both if none are named. */
function same(fresh: string, kept: string, files = [...new Set([...filesIn(fresh), ...filesIn(kept)])]): Outcome {
  const changed = files.filter((file) => contents(join(fresh, file)) !== contents(join(kept, file)));
  const output = `${changed.map((file) => join(kept, file)).join("\n")}\ndiffers from its source: npm run generate`;
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
  const env = { ...process.env, NO_COLOR: "1" };
  const { status, stdout, stderr, error } = spawnSync(command, args, { cwd: root, env, encoding: "utf8" });
  return { passed: status === 0, output: error === undefined ? `${stdout}${stderr}` : `${command}: ${error.message}` };
}
