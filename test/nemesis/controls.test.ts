import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { CONTROLS } from "./controls.ts";
import { FAULTS } from "./nemesis.ts";

const root = join(import.meta.dirname, "../..");

it("each fault of a control fits exactly one place of the source", () => {
  const lost = CONTROLS.flatMap(({ name, faults }) =>
    faults
      .filter(({ file, search }) => readFileSync(join(root, file), "utf8").split(search).length !== 2)
      .map(({ file }) => `${file}: ${name}`),
  );
  expect(lost).toEqual([]);
});

it("each control names only kinds of faults that exist", () => {
  const unknown = CONTROLS.flatMap(({ kinds }) => kinds).filter(
    (kind) => !FAULTS.some(({ name }) => name.startsWith(kind)),
  );
  expect(unknown).toEqual([]);
});

it("the nemesis draws from more than 20 kinds of faults with different names", () => {
  expect(FAULTS.length).toBeGreaterThan(20);
  expect(new Set(FAULTS.map(({ name }) => name)).size).toBe(FAULTS.length);
});
