import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { MUTANTS as SIMULATED } from "../simulation/mutants.ts";
import { MUTANTS } from "./mutants.ts";

const root = join(import.meta.dirname, "../..");

it("every mutant matches exactly one place of its file", () => {
  const lost = [...MUTANTS, ...SIMULATED].filter(({ file, search }) => {
    return readFileSync(join(root, file), "utf8").split(search).length !== 2;
  });
  expect(lost.map(({ file, name }) => `${file}: ${name}`)).toEqual([]);
});
