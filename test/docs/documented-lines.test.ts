/** Checks that docs/ADMIN.md has every method, and that a line which is not as shown is found. */
import { readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { AdminService } from "../../src/gen/latchkey/v1/admin_service_pb.ts";
import { KeyService } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { blocksOf, isAsShown, openShell, runBlocks } from "../support/documented-lines.ts";

const root = join(import.meta.dirname, "../..");
const page = (name: string) => readFileSync(join(root, name), "utf8");

describe("docs/ADMIN.md", () => {
  it.each([AdminService, KeyService])("has a line for each method of $name", (service) => {
    const lines = blocksOf(page("docs/ADMIN.md")).flatMap((block) => block.lines);
    const missing = service.methods.filter(
      ({ name }) => !lines.some((line) => line.endsWith(`${service.typeName}/${name}`)),
    );
    expect(missing.map(({ name }) => name)).toEqual([]);
  });

  it.each(["README.md", "docs/OPERATIONS.md"])("is where %s points to", (name) => {
    expect(page(name)).toMatch(/\]\((docs\/)?ADMIN\.md/);
  });
});

describe("a page's lines", () => {
  const run = async (text: string) => {
    await using shell = openShell(tmpdir());
    return await runBlocks(blocksOf(text), shell, "127.0.0.1:1");
  };
  const faults = async (text: string) => (await run(text)).map(({ fault }) => fault !== undefined);
  const sh = (...lines: string[]) => ["```sh", ...lines, "```", ""].join("\n");
  const json = (text: string) => ["```json", text, "```", ""].join("\n");

  it("run in one shell, in order, with answers filled in and the address replaced", async () => {
    const text =
      sh('say() { echo "$@"; }', 'say \'{"a": {"b": "c d"}}\'') +
      sh("VALUE=...   # a.b of the answer", "say $VALUE localhost:8080 \\", "  end");
    expect((await run(text)).at(-1)).toMatchObject({ output: "c d 127.0.0.1:1 end\n", code: 0, fault: undefined });
  });

  it("are faults where they fail, where they do well and an error is shown, and where they answer otherwise", async () => {
    expect(await faults(sh("true", "false"))).toEqual([false, true]);
    expect(await faults(sh("echo '{\"a\": 1}'") + json('{ "a": 1 }'))).toEqual([false]);
    expect(await faults(sh("echo '{\"a\": 1}'") + json('{ "a": 2 }'))).toEqual([true]);
    expect(await faults(sh("echo ERROR: no") + json("ERROR: no"))).toEqual([true]);
    expect(await faults(sh("echo ERROR: no; (exit 69)") + json("ERROR: no"))).toEqual([false]);
  });

  it.each<[shown: string, output: string, is: boolean]>([
    ['{ "id": "usr_..." }', '{"id": "usr_1"}', true],
    ['{ "id": "usr_..." }', '{"id": "key_1"}', false],
    ['{ "id": "..." }', '{"id": "1", "more": "2"}', false],
    ['{\n  "id": "1",\n  ...\n}', '{"id": "1", "more": "2"}', true],
    ['{ "id": "1" }', '{"id": "1"}\n{"id": "1"}', false],
  ])("%j shows %j: %s", (shown, output, is) => {
    expect(isAsShown(output, shown)).toBe(is);
  });
});
