/** The house's prose keeps the rules of prose.ts, and each of these rules can fail. */
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { proseFaults } from "./prose.ts";
import { readProse } from "./prose-text.ts";

const root = join(import.meta.dirname, "../..");
const code = ["{src,test,bench,scripts}/**/*.ts", "{client,cli}/src/**/*.ts", "*.ts"];
const pages = ["{docs,test,bench,scripts,deploy}/**/*.md", "{client,cli}/*.md", "*.md"];
const paths = globSync([...code, ...pages], { cwd: root }).sort();
const house = paths
  .filter((path) => !path.startsWith("src/gen/"))
  .map((path) => readProse(path, readFileSync(join(root, path), "utf8")));

describe("the prose of the house", () => {
  it("keeps every rule", () => {
    expect(house.length).toBeGreaterThan(100);
    expect(proseFaults(house)).toEqual([]);
  });
});

const words = (columns: number) => "word ".repeat(columns / 5).trimEnd();

describe("each rule of prose can fail:", () => {
  it.each<[rule: string, path: string, text: string]>([
    ["columns", "src/main.ts", `// ${words(120)}`],
    ["columns", "docs/A.md", `- ${words(120)}`],
    ["columns", "docs/A.md", `${words(115)} [a link](docs/B.md)`],
    ["wrapping", "src/main.ts", `/**\n * ${words(80)}\n * ${words(40)}\n */`],
    ["wrapping", "test/a.ts", `  // ${words(90)}\n  // ${words(10)}`],
    ["wrapping", "test/a.ts", `/**\n * @param a ${words(50)}\n *   ${words(40)}\n */`],
    ["wrapping", "docs/A.md", `${words(115)}\n${words(60)}\n${words(20)}`],
    ["wrapping", "docs/A.md", `- ${words(60)}\n  ${words(20)}`],
    ["wrapping", "docs/A.md", `1. ${words(60)}\n   ${words(20)}`],
    ["first line", "src/main.ts", "/** Who calls. */"],
    ["first line", "src/main.ts", "/** What calls. */"],
    ["first line", "src/main.ts", "/**\n * Whatever calls.\n */"],
    ["first line", "bench/a.ts", "const a = {\n  /** That it calls. */\n  b: 1,\n};"],
    ["vague", "src/main.ts", "/** The number of calls. It waits for so many. */"],
    ["vague", "src/main.ts", "/** A timeout: so long it waits. */"],
    ["words", "src/main.ts", "// Nobody calls."],
    ["words", "src/main.ts", "/** The caller is somebody else. */"],
    ["words", "src/main.ts", "/* The call is whoever's. */"],
    ["words", "src/main.ts", "const a = 'the call begins anew';"],
    ["words", "src/main.ts", ["const a = `", "the store $", "{b} is out of reach`;"].join("")],
    ["words", "docs/A.md", "All calls but for one."],
    ["words", "docs/A.md", "It fails for want of memory."],
    ["words", "docs/A.md", "The key is good no more."],
    ["words", "docs/A.md", "The key is good no more and gone."],
    ["words", "scripts/a.ts", "/**\n * Sends a call\n *\n * - to somebody\n */"],
  ])("%s: %s %#", (rule, path, text) => {
    const faults = proseFaults([readProse(path, text)]);
    expect(faults).toHaveLength(1);
    expect(faults[0]).toMatch(new RegExp(`^${rule}: ${path}:\\d`));
  });

  it("map: a file of a folder of src/ that no opening comment of the folder names", () => {
    const files = [
      ["src/keys/key.ts", "/**\n * KEYS.\n *\n *   issue-key.ts  issues\n */\n/** Not the opening: verify-key.ts. */"],
      ["src/keys/issue-key.ts", ""],
      ["src/keys/verify-key.ts", ""],
      ["src/keys/credentials/credential.ts", "/** Beside issue-key.ts. */"],
      ["src/keys/credentials/key.ts", ""],
    ] as const;
    expect(proseFaults(files.map(([path, text]) => readProse(path, text)))).toEqual([
      "map: src/keys/verify-key.ts is named in no opening comment of src/keys/",
      "map: src/keys/credentials/key.ts is named in no opening comment of src/keys/credentials/",
    ]);
  });
});

describe("no rule of prose fails for", () => {
  it.each<[what: string, path: string, text: string]>([
    ["a long line of code", "test/a.ts", `const a = "${words(150)}";`],
    ["a long row of a table", "docs/A.md", `| ${words(150)} |`],
    ["a long link", "docs/A.md", `[a](${"x".repeat(150)}) and https://example.com/${"x".repeat(150)}`],
    ["a short last line", "docs/A.md", `${words(115)}\n${words(20)}\n\n${words(20)}`],
    ["a line whose next word had no room", "docs/A.md", `${words(60)}\n${"x".repeat(70)}`],
    ["a list with short items", "docs/A.md", "- one\n- two\n  - three\n1. four\n2. five"],
    ["columns that a comment lays out", "test/a.ts", "/**\n * A map.\n *\n *   a.ts  one\n *   b.ts  two\n */"],
    ["tags", "test/a.ts", "/**\n * A call.\n *\n * @param a one\n * @param b two\n * @throws Error\n */"],
    ["a heading above its text", "docs/A.md", "# A title\nA text"],
    ["a line that is broken on purpose", "docs/A.md", "one  \ntwo\\\nthree"],
    ["code", "docs/A.md", `Say \`nobody\`:\n\n\`\`\`\n${words(150)} nobody\nand more\n\`\`\``],
    ["words in a text of a test", "test/a.ts", 'const a = "nobody";'],
    [
      "an amount that is compared",
      "docs/A.md",
      "At most 5, no more than 6, and no more keys. Not for one but for two.",
    ],
    ["a boolean", "src/main.ts", "/** Whether the call has ended. */"],
    ["a consequence", "src/main.ts", "/** The queue holds so many that calls wait, so long as it does. */"],
  ])("%s", (_what, path, text) => {
    expect(proseFaults([readProse(path, text)])).toEqual([]);
  });
});
