/** The command line without a service: definitions, help, wrong usage, and what is never repeated. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { EXIT } from "../../cli/src/exit-codes.ts";
import { dashed } from "../../cli/src/flags.ts";
import { GLOBAL_FLAGS } from "../../cli/src/global-flags.ts";
import { NOUNS } from "../../cli/src/nouns.ts";
import { programOf } from "../../cli/src/program.ts";
import type { Verb } from "../../cli/src/verb.ts";
import { command, makeHome, recordedIo } from "./command.ts";

const VERBS: readonly (readonly [line: string, verb: Verb])[] = NOUNS.flatMap((entry): [string, Verb][] =>
  "verbs" in entry ? entry.verbs.map((verb) => [`${entry.name} ${verb.name}`, verb]) : [[entry.name, entry]],
);
/** Verbs that start a process of the service's own. */
const SCRIPTS = ["bootstrap", "migrate", "master-keys", "demo"];
const KEY = `kit_live_${"Ab1".repeat(22)}`.slice(0, 74);
const JWT = "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJ1c3JfMSJ9.c2lnbmF0dXJlLW9mLWl0";

describe("each verb", () => {
  it.each(VERBS)("%s has a help with an example, on lines that fit into 80 columns", async (line, { examples }) => {
    const { code, stdout, stderr } = await command([...line.split(" "), "--help"], { columns: 80 });
    expect([code, stderr]).toEqual([0, ""]);
    expect(examples.length).toBeGreaterThan(0);
    for (const example of examples) expect(stdout).toContain(example);
    const prose = stdout.split("Examples:")[0]!.split("\n");
    expect(prose.filter((one) => one.length > 80)).toEqual([]);
  });

  it.each(VERBS)("%s has examples that its own definition takes", async (line, { examples }) => {
    for (const example of examples) {
      const [, args = ""] = /^(?:.*latchkey )?([^<>|]*)/.exec(example) ?? [];
      const words = [...args.matchAll(/"([^"]*)"|\S+/g)].map(([word, quoted]) => quoted ?? word);
      const ran: string[] = [];
      const program = programOf(recordedIo(), async (verb) => void ran.push(verb.name));
      await program.parseAsync(words, { from: "user" });
      expect([example, ran]).toEqual([example, [line.split(" ").at(-1)]]);
    }
  });

  it.each(VERBS)("%s has flags that commander does not read as a negation, and that no other flag hides", (_, verb) => {
    const names = Object.keys(verb.flags).map(dashed);
    expect(names.filter((name) => name.startsWith("--no-"))).toEqual([]);
    expect(names.filter((name) => Object.keys(GLOBAL_FLAGS).map(dashed).includes(name))).toEqual([]);
  });
});

describe("wrong usage", () => {
  it.each([
    ["", /a command is needed/],
    ["keys", /a command is needed; see: latchkey keys --help/],
    ["kays list", /no such command \(Did you mean keys\?\)/],
    ["migrate stat", /migrate takes either status or --dry-run/],
    ["migrate status --dry-run", /migrate takes either status or --dry-run/],
    ["keys lst", /no such command \(Did you mean list\?\)/],
    ["keys list --ownr x", /no such flag \(Did you mean --owner\?\)/],
    ["keys list --owner", /a flag has no value/],
    ["keys list --owner a --owner b", /--owner must be given once/],
    ["keys list --limit -1", /--limit must be a whole number of at least 1/],
    ["keys list --limit 1e3", /--limit must be a whole number/],
    ["keys list extra", /too many arguments/],
    ["keys get", /needs KEY_ID/],
    ["keys issue --owner x", /--name is needed/],
    ["keys issue --name x --expires soon", /--expires must be a time such as/],
    ["keys issue --name x --metadata x", /pairs of the form name=value/],
    ["keys rotate x --overlap 5", /--overlap must be a time such as 90s/],
    ["keys list --json --quiet", /--json and --quiet exclude each other/],
    ["keys list --timeout 0s", /--timeout must be a time from 1s to 10m/],
    ["keys list --address", /a flag has no value/],
    ["keys list --address ftp://x y", /too many arguments/],
    ["keys list --address http://user:password@host", /the address of --address must be a URL/],
    ["keys list --profile nosuch", /--profile names no profile/],
  ])("%j ends with 2, one line at the end of standard error, and nothing on standard output", async (line, said) => {
    const { code, stdout, stderr } = await command(line === "" ? [] : line.split(" "));
    expect([code, stdout]).toEqual([EXIT.USAGE, ""]);
    expect(stderr.trimEnd().split("\n").at(-1)).toMatch(said);
  });
});

describe("a secret as an argument", () => {
  it.each([
    [KEY],
    ["keys", KEY],
    ["keys", "get", KEY],
    ["keys", "list", `--owner=${KEY}`],
    ["keys", "list", `--${KEY}`],
    ["keys", "list", "--address", `http://${KEY}@host`],
    ["keys", "verify", JWT],
    ["keys", "list", "--credential", "short"],
    ["keys", "list", "--credential=short"],
    ["keys", "verify", "--api-key", "short"],
    ["config", "set", "credential", "short"],
  ])("%# is refused before anything else happens, and is not repeated", async (...args) => {
    const { code, stdout, stderr } = await command(args);
    expect([code, stdout]).toEqual([EXIT.USAGE, ""]);
    expect(stderr).toMatch(/secret|standard input/);
    for (const arg of args.slice(1).filter((one) => /kit_|eyJ|short/.test(one))) expect(stderr).not.toContain(arg);
  });
});

describe("an argument", () => {
  it("is repeated by no error, wherever it stands", async () => {
    using home = makeHome();
    const odd = "zq-7d81";
    const lines = [
      [odd],
      ["keys", odd],
      ["keys", "list", odd],
      ["keys", "list", `--${odd}`],
      ["keys", "list", `-${odd}`],
      ["keys", "list", "--limit", odd],
      ["keys", "list", "--timeout", odd],
      ["keys", "list", "--address", `${odd}:x`],
      ["status", "--address", `http://${odd}.invalid`],
      ["keys", "list", "--profile", odd],
      ["keys", "list", "--credential-file", odd],
      ["keys", "rotate", odd, "--overlap", odd],
      ["keys", "issue", "--name", odd, "--metadata", odd],
      ["keys", "delete", odd],
      ["limits", "check", odd, "--name", odd],
      ["config", "get", odd],
      ["config", "set", odd, odd],
      ["config", "set", "address", `${odd}:x`],
      ["config", "set", "address", "x", "--profile", `${odd}!`],
      ["config", "use", odd],
      ["help", odd],
    ];
    for (const args of lines) {
      const { stdout, stderr } = await command(args, { env: home.env });
      expect(stdout + stderr, args.join(" ")).not.toContain(odd);
    }
  });

  it.each(["\u001b[31m", "\u0007", "\u009b", "\u202e", "a\u0000"])(
    "with control characters (%j) is refused",
    async (odd) => {
      const { code, stderr } = await command(["keys", "issue", "--name", odd]);
      expect({ code, stderr }).toEqual({ code: EXIT.USAGE, stderr: "latchkey: an argument has control characters\n" });
    },
  );
});

describe("any command line", () => {
  const nouns = NOUNS.map(({ name }) => name);
  const ours = [
    ...new Set([...VERBS.flatMap(([line, verb]) => [...line.split(" "), ...Object.keys(verb.flags).map(dashed)])]),
  ];
  const strange = fc.oneof(
    fc.string({ unit: "binary" }),
    fc.string({ minLength: 1 }),
    fc.constantFrom("--", "-", "", "--=", "-x"),
  );
  const codes: readonly number[] = Object.values(EXIT);

  it("ends with a code of ours and writes no control character, whatever it has", async () => {
    const words = fc.oneof({ weight: 3, arbitrary: fc.constantFrom(...ours) }, { weight: 2, arbitrary: strange });
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...nouns.filter((name) => !SCRIPTS.includes(name))),
        fc.array(words),
        async (noun, rest) => {
          const { code, stdout, stderr } = await command([noun, ...rest], { env: { LATCHKEY_ADDRESS: "127.0.0.1:1" } });
          expect(codes).toContain(code);
          // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what this looks for
          expect(stdout + stderr).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/);
          expect(stderr).not.toContain("unexpected fault");
        },
      ),
      { numRuns: 500 },
    );
  });
});

describe("a terminal of 20 columns", () => {
  it.each(VERBS)("shows the help of %s", async (line) => {
    const { code, stdout } = await command([...line.split(" "), "--help"], { columns: 20 });
    expect(code).toBe(0);
    expect(stdout).toContain("Examples:");
  });
});

it("tells its version, and its exit codes in its help", async () => {
  expect((await command(["--version"])).stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
  expect((await command(["--help"])).stdout).toMatch(
    /Exit codes:\n {2}0 {4}done\n {2}1 .* {2}5 {4}not found\n {2}130 /s,
  );
});
