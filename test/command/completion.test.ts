/** `latchkey completion`, run by the shells that are installed. Bash always is. */
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { commandTree } from "../../cli/src/completion/command-tree.ts";
import { NOUNS } from "../../cli/src/nouns.ts";
import { command } from "./command.ts";

/** Each completes the last word, and prints a candidate a line. */
const DRIVERS: Readonly<Record<string, string>> = {
  bash: `compopt() { :; }; source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _latchkey
    printf '%s\\n' "\${COMPREPLY[@]}"`,
  // The functions of zsh that work only while a person types.
  zsh: `compdef() { }; compset() { PREFIX=\${PREFIX##$~2} }; _files() { print -l -- "$PREFIX"*(N) }
    compadd() { shift; local it; for it; do [[ $it == "$PREFIX"* ]] && print -r -- $it; done }
    _describe() { local -a names=("\${(@)\${(@P)2}%%:*}"); compadd -- $names }
    source "$1"; shift; words=("$@"); CURRENT=$#; PREFIX=\${@[-1]}; _latchkey; true`,
  fish: `source $argv[1]; complete -C (string join ' ' -- $argv[2..-1]) | string replace -r '\\t.*' ''; true`,
};
const FLAGS: Readonly<Record<string, readonly string[]>> = {
  bash: ["--norc", "--noprofile", "-c"],
  zsh: ["-f", "-c"],
  fish: ["--no-config", "-c"],
};

let folder: string;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "latchkey-completion-"));
  for (const shell of Object.keys(DRIVERS)) {
    const { code, stdout, stderr } = await command(["completion", shell]);
    expect([code, stderr]).toEqual([0, ""]);
    writeFileSync(join(folder, shell), stdout);
  }
  writeFileSync(join(folder, "credential.txt"), "");
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function isInstalled(shell: string): boolean {
  return (process.env.PATH ?? "").split(delimiter).some((path) => existsSync(join(path, shell)));
}

/** The candidates of a shell for the last of these words. The driver's name stands for `$0`, except in fish. */
function offered(shell: string, ...words: readonly string[]): string[] {
  const zeroth = shell === "fish" ? [] : [shell];
  const args = [...FLAGS[shell]!, DRIVERS[shell]!, ...zeroth, join(folder, shell), "latchkey", ...words];
  const text = execFileSync(shell, args, { cwd: folder, encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] });
  return text.split("\n").filter((line) => line !== "");
}

const installed = Object.keys(DRIVERS).filter((shell) => shell === "bash" || isInstalled(shell));
describe.each(installed)("the completion of latchkey in %s", (shell) => {
  it("offers nouns, verbs and fixed values, wherever flags of every verb stand", () => {
    expect(offered(shell, "s")).toEqual(expect.arrayContaining(["services", "signing-keys", "status"]));
    expect(offered(shell, "keys", "r").sort()).toEqual(["revoke", "rotate"]);
    expect(offered(shell, "--profile", "keys", "--json", "users", "e").sort()).toEqual(["enable", "end-sessions"]);
    expect(offered(shell, "completion", "").sort()).toEqual(["bash", "fish", "zsh"]);
    expect(offered(shell, "config", "get", "a")).toEqual(["address"]);
    expect(offered(shell, "keys", "get", "")).toEqual([]);
  });

  it("offers the flags of the verb and of every verb, and the values of flags", () => {
    expect(offered(shell, "keys", "issue", "--na")).toEqual(["--name"]);
    expect(offered(shell, "keys", "list", "--js").sort()).toEqual(["--json", "--jsonl"]);
    expect(offered(shell, "keys", "list", "--na")).toEqual([]);
    expect(offered(shell, "keys", "issue", "--tier", "p")).toEqual(["pro"]);
    expect(offered(shell, "keys", "issue", "--name", "")).toEqual([]);
    expect(offered(shell, "users", "list", "--credential-file", "cred")).toEqual(["credential.txt"]);
  });

  it("evaluates nothing that was typed", () => {
    for (const word of ["$(touch evil)", "`touch evil`", "';touch evil;'", "*", "a[$(touch evil)]"]) {
      expect(offered(shell, word, "keys", "issue", "--name", word, word)).toEqual([]);
      expect(offered(shell, "keys", "issue", "--tier", word).filter((one) => one !== word)).toEqual([]);
    }
    expect(existsSync(join(folder, "evil"))).toBe(false);
  });
});

describe("the completion of latchkey in bash", () => {
  it("takes a flag and its value in one word, which bash splits, and lists with commas", () => {
    expect(offered("bash", "keys", "issue", "--tier", "=", "e")).toEqual(["enterprise"]);
    expect(offered("bash", "keys", "issue", "--tier", "=")).toEqual(["basic", "pro", "enterprise"]);
    expect(offered("bash", "keys", "issue", "--tier", "=", "pro", "--na")).toEqual(["--name"]);
    expect(offered("bash", "services", "issue", "--scopes", "verify,m")).toEqual(["verify,manage"]);
  });
});

describe("latchkey completion", () => {
  it("ends with 2 for another shell", async () => {
    expect(await command(["completion", "tcsh"])).toMatchObject({ code: 2, stdout: "" });
  });

  it("rests on flags that take a value in each verb, or in none", () => {
    const { lines, globalFlags } = commandTree(NOUNS);
    const all = [...globalFlags, ...lines.flatMap(({ flags }) => flags)];
    const kinds = new Set(all.map(({ name, takesValue }) => `${name} ${takesValue}`));
    expect(kinds.size).toBe(new Set(all.map(({ name }) => name)).size);
  });
});
