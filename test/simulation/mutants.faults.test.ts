import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { MUTANTS, type Mutant } from "./mutants.ts";

/** The simulation must find each mutant within this number of seeds. The rarest shows in one of about 700. */
const SEEDS = 5000;
/** Without a mutant it must find nothing in this number of seeds. `npm run test:simulation` runs more. */
const UNCHANGED_SEEDS = 1000;

const root = join(import.meta.dirname, "../..");
let copy: string;

beforeEach(() => {
  copy = mkdtempSync(join(tmpdir(), "latchkey-mutant-"));
  for (const part of ["src", "test/simulation", "package.json"]) {
    cpSync(join(root, part), join(copy, part), { recursive: true });
  }
  symlinkSync(join(root, "node_modules"), join(copy, "node_modules"));
});

afterEach(() => rmSync(copy, { recursive: true, force: true }));

describe("the simulation", () => {
  it("finds nothing in the unchanged copy", () => {
    const { status, output } = simulateCopy(UNCHANGED_SEEDS);
    expect(output).toMatch(new RegExp(`^${UNCHANGED_SEEDS} seeds in .* 0 failures$`, "m"));
    expect(status).toBe(0);
  });

  it.each(MUTANTS)("finds $name", (mutant) => {
    apply(mutant);
    const { status, output } = simulateCopy(SEEDS);
    const found = /^seed (\d+): .*$/m.exec(output);
    process.stderr.write(`${mutant.name}: ${found?.[0] ?? "not found"}\n`);
    expect(found, output).not.toBeNull();
    expect(status).toBe(1);
  });
});

function apply({ file, search, replacement }: Mutant): void {
  const path = join(copy, file);
  const parts = readFileSync(path, "utf8").split(search);
  expect(parts, `${search} occurs once in ${file}`).toHaveLength(2);
  writeFileSync(path, parts.join(replacement));
}

function simulateCopy(seeds: number): { status: number | null; output: string } {
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    ["test/simulation/run.ts", "--seeds", String(seeds), "--stop"],
    { cwd: copy, encoding: "utf8" },
  );
  return { status, output: stdout + stderr };
}
