/** The floor of the command: its own files, packages that it names, and nothing of the service. */
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { readSource } from "../support/source-file.ts";

const folder = join(import.meta.dirname, "../../cli");

it("the command imports its own files, node's modules and its dependencies alone, and each of these", () => {
  const { dependencies } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  const files = globSync("src/**/*.ts", { cwd: folder }).map((path) => {
    return readSource(`cli/${path}`, readFileSync(join(folder, path), "utf8"));
  });
  expect(files.length).toBeGreaterThan(20);
  const imports = files.flatMap(({ path, imports }) => imports.map((source) => ({ path, source })));
  const packages = imports.filter(({ source }) => !/^(\.|node:)/.test(source));
  const nameOf = (source: string) => source.split("/", source.startsWith("@") ? 2 : 1).join("/");
  expect([...new Set(packages.map(({ source }) => nameOf(source)))].sort()).toEqual(Object.keys(dependencies).sort());
  const strangers = imports.filter(({ path, source }) => {
    return source.startsWith(".") && !join(path, "..", source).startsWith("cli/src/");
  });
  expect(strangers).toEqual([]);
});
