import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Mutant } from "./mutant.ts";

export interface MutantSuite {
  /** The simulation, as its tests name it. */
  readonly name: string;
  /** Its run.ts, from the root of the project. */
  readonly run: string;
  /** The folders and files that it imports, from the root of the project. */
  readonly parts: readonly string[];
  readonly mutants: readonly Mutant[];
  /** The simulation must find each mutant within this number of seeds. */
  readonly seeds: number;
  /** Without a mutant it must find nothing in this number of seeds. */
  readonly unchangedSeeds: number;
}

interface Run {
  readonly status: number | null;
  readonly output: string;
}

const root = join(import.meta.dirname, "../..");

/** Declares the tests that a simulation finds its mutants. Each runs in a copy of the sources. */
export function describeMutants({ name, run, parts, mutants, seeds, unchangedSeeds }: MutantSuite): void {
  let copy: string;

  beforeEach(() => {
    copy = mkdtempSync(join(tmpdir(), "latchkey-mutant-"));
    for (const part of [...parts, "package.json"]) cpSync(join(root, part), join(copy, part), { recursive: true });
    symlinkSync(join(root, "node_modules"), join(copy, "node_modules"));
  });

  afterEach(() => rmSync(copy, { recursive: true, force: true }));

  describe(name, () => {
    it("finds nothing in the unchanged copy", () => {
      const { status, output } = simulate(unchangedSeeds);
      expect(output).toMatch(new RegExp(`^${unchangedSeeds} seeds in .* 0 failures$`, "m"));
      expect(status).toBe(0);
    });

    it.each(mutants)("finds $name", (mutant) => {
      apply(mutant);
      const { status, output } = find(mutant);
      const found = /^seed (\d+): .*$/m.exec(output);
      process.stderr.write(`${mutant.name}: ${found?.[0] ?? "not found"}\n`);
      expect(found, output).not.toBeNull();
      expect(status).toBe(1);
    });
  });

  function apply({ file, search, replacement }: Mutant): void {
    const path = join(copy, file);
    const pieces = readFileSync(path, "utf8").split(search);
    expect(pieces, `${search} occurs once in ${file}`).toHaveLength(2);
    writeFileSync(path, pieces.join(replacement));
  }

  function find({ seed }: Mutant): Run {
    const quick = seed === undefined ? undefined : simulate(1, seed);
    return quick?.status === 1 ? quick : simulate(seeds);
  }

  function simulate(count: number, from = 1): Run {
    const args = [run, "--seeds", String(count), "--from", String(from), "--stop"];
    const { status, stdout, stderr } = spawnSync(process.execPath, args, { cwd: copy, encoding: "utf8" });
    return { status, output: stdout + stderr };
  }
}
