/** Every file that the documentation names exists. */
import { globSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, it } from "vitest";

const root = join(import.meta.dirname, "../..");
const pages = globSync(["*.md", "docs/**/*.md", "bench/**/*.md", "test/**/*.md"], { cwd: root });

/** A file with a folder before it, or a file that a link leads to. `*` stands for any text. */
const PATH =
  /(?<![\w/:.-])(?:\.{0,2}\/)?(?:[\w.*-]+\/)+[\w.*-]+\.(?:ts|md|lua|proto|cjs|py|ya?ml)\b|(?<=\]\()[^):#]+(?=[)#])/g;
/** A name without a folder stands for a file of `src/`, `test/` or any other folder of sources. */
const NAME = /(?<=`)[\w-]+(?:\.test|\.faults\.test|\.servers\.test)?\.ts(?=`)/g;
const SOURCES = "{src,test,bench,scripts,proto,docs,client,examples}/**";
/** Folders that a reader makes or Helm names: `gen/` of a client, `latchkey/` for a checkout, `templates/` of the chart. */
const READERS = /^(gen|latchkey|templates)\//;

/** Paths in a text that lead nowhere: from the page itself, from the root, or from src/. */
function missing(page: string, text: string): string[] {
  const paths = [...text.matchAll(PATH)].map(([path]) => path).filter((path) => !READERS.test(path));
  const lost = paths.filter((path) => [dirname(page), ".", "src"].every((from) => !exists(join(from, path))));
  const names = [...text.matchAll(NAME)].map(([name]) => name);
  return [...lost, ...names.filter((name) => !exists(`${SOURCES}/${name}`) && !exists(name))];
}

function exists(pattern: string): boolean {
  return globSync(pattern, { cwd: root }).length > 0;
}

describe("the documentation", () => {
  it.each(pages)("names in %s only files that exist", (page) => {
    expect(missing(page, readFileSync(join(root, page), "utf8"))).toEqual([]);
  });

  it("would be refused with a file that does not exist (the control)", () => {
    const text = "`src/keys/judge-key.ts`, `keys/no-key.ts`, [a](no.md), [b](adr/), `no.test.ts`, `judge-key.ts`";
    expect(missing("docs/ADMIN.md", text)).toEqual(["keys/no-key.ts", "no.md", "no.test.ts"]);
  });
});
