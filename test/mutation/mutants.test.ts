import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { MUTANTS as NEAR } from "../near-simulation/mutants.ts";
import { MUTANTS as SIMULATED } from "../simulation/mutants.ts";
import { asNode, identifier, type Node, nodesOf, parse } from "../support/syntax-tree.ts";
import { MUTANTS } from "./mutants.ts";

const root = join(import.meta.dirname, "../..");
const read = (path: string) => readFileSync(join(root, path), "utf8");
const timesIn = (file: string, search: string) => read(file).split(search).length - 1;

it("every mutant matches exactly one place of its file", () => {
  const lost = [...MUTANTS, ...SIMULATED, ...NEAR].filter(({ file, search }) => timesIn(file, search) !== 1);
  expect(lost.map(({ file, name }) => `${file}: ${name}`)).toEqual([]);
});

// They run with the faults alone, where one that no longer matches would be found late.
it("every source fault of a fault test's control matches exactly one place of its file", () => {
  const faults = globSync("test/faults/*.ts", { cwd: root }).flatMap((path) =>
    nodesOf(parse(read(path))).flatMap((node) => {
      const [file, search] = [textOf(node, "file"), textOf(node, "search")];
      return file === undefined || search === undefined ? [] : [{ path, file, search }];
    }),
  );
  expect(faults.length).toBeGreaterThanOrEqual(10);
  expect(faults.filter(({ file, search }) => timesIn(file, search) !== 1)).toEqual([]);
});

/** The constant text of a property of an object literal. */
function textOf(node: Node, name: string): string | undefined {
  if (node.type !== "ObjectExpression") return undefined;
  const property = (node.properties as Node[]).find(({ key }) => identifier(key) === name);
  const value = asNode(property?.value);
  if (value?.type === "Literal" && typeof value.value === "string") return value.value;
  const [quasi, ...others] = (value?.quasis ?? []) as { readonly value: { readonly cooked: string } }[];
  return others.length === 0 ? quasi?.value.cooked : undefined;
}
