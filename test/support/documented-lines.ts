/** Runs the shell lines of a documentation page as a reader would, and compares the answers with those on the page. */
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";

/** A block of shell lines, and the block just below it, which shows the answer to the last line. */
export interface Block {
  readonly lines: readonly string[];
  readonly shown: string | undefined;
}

/** The result of one command. */
export interface Outcome {
  readonly command: string;
  readonly output: string;
  readonly code: number;
  /** The difference from the page; undefined if there is none. */
  readonly fault: string | undefined;
}

/** A session of bash in which commands run one after the other. */
export interface Shell extends AsyncDisposable {
  run(command: string): Promise<{ readonly output: string; readonly code: number }>;
}

/** The blocks of a page, or of one section, that are marked `sh`. */
export function blocksOf(page: string, section?: string): readonly Block[] {
  const text = section === undefined ? page : sectionOf(page, section);
  const blocks = text.matchAll(/^```sh\n([\s\S]*?)^```\n(?:\s*^```(?:json|text)\n([\s\S]*?)^```)?/gm);
  return [...blocks].map(([, lines = "", shown]) => ({ lines: commandsOf(lines), shown }));
}

function sectionOf(page: string, title: string): string {
  const [, text] = page.split(`\n## ${title}\n`);
  if (text === undefined) throw new Error(`the page has no section ${title}`);
  return text.split(/^## /m)[0]!;
}

/** The commands of a block: its lines without comments and empty lines. A line that ends with a backslash continues. */
function commandsOf(text: string): readonly string[] {
  return text.split(/(?<!\\)\n/).filter((line) => !/^\s*(#|$)/.test(line));
}

/**
 * Runs the blocks in order. In `NAME=...  # some.path of the answer` the value comes from the previous answer. Any
 * other command runs unchanged, except that `address` replaces `localhost:8080`.
 */
export async function runBlocks(blocks: readonly Block[], shell: Shell, address: string): Promise<readonly Outcome[]> {
  const outcomes: Outcome[] = [];
  for (const { lines, shown } of blocks) {
    for (const [index, line] of lines.entries()) {
      const isShown = index === lines.length - 1 && shown !== undefined;
      const command = filledIn(line, outcomes.at(-1)?.output ?? "").replaceAll("localhost:8080", address);
      const { output, code } = await shell.run(command);
      const fault = isShown ? faultOfShown(output, code, shown) : code === 0 ? undefined : `exit code ${code}`;
      // An assignment has no answer, so the next assignment reads the same answer.
      if (command === line || !/^[A-Z_]+='/.test(command)) outcomes.push({ command: line, output, code, fault });
    }
  }
  return outcomes;
}

/** Whether the output matches the page. `...` in a text stands for any text, and on a line of its own for any lines. */
export function isAsShown(output: string, shown: string): boolean {
  const words = shown.trim().split(/\s+/);
  const pattern = words.map((word) => (word === "..." ? "[^]*" : word.split("...").map(escaped).join('[^"]*')));
  return new RegExp(`^${pattern.join("")}$`).test(output.replaceAll(/\s+/g, ""));
}

function faultOfShown(output: string, code: number, shown: string): string | undefined {
  if (!isAsShown(output, shown)) return `the page shows:\n${shown}`;
  const isError = /^(Error|ERROR)/m.test(shown);
  return isError === (code !== 0) ? undefined : `exit code ${code}`;
}

function escaped(text: string): string {
  return text.replaceAll(/[\\^$.*+?()[\]{}|]/g, "\\$&");
}

function filledIn(line: string, answer: string): string {
  const [, name, path] = /^([A-Z_]+)=\.\.\.\s+# (\S+) of the answer$/.exec(line) ?? [];
  if (path === undefined) return line;
  let value: unknown = JSON.parse(answer);
  for (const part of path.split(".")) value = (value as Record<string, unknown> | undefined)?.[part];
  if (typeof value !== "string") throw new Error(`the answer has no ${path}:\n${answer}`);
  return `${name}='${value}'`;
}

/** Bash in this folder, without settings of a user. */
export function openShell(folder: string): Shell {
  const bash = spawn("bash", ["--noprofile", "--norc"], { cwd: folder, stdio: ["pipe", "pipe", "ignore"] });
  let output = "";
  let wake = () => {};
  bash.stdout.on("data", (chunk: Buffer) => {
    output += chunk.toString();
    wake();
  });
  bash.stdin.write("exec 2>&1\n");
  return {
    async run(command) {
      const mark = `end-${randomBytes(8).toString("hex")}`;
      output = "";
      bash.stdin.write(`{ ${command}\n} </dev/null\nprintf '%s %d\\n' '${mark}' "$?"\n`);
      const end = new RegExp(`${mark} (\\d+)\\n$`);
      while (!end.test(output)) {
        const { promise, resolve } = Promise.withResolvers<void>();
        wake = resolve;
        await promise;
      }
      const code = Number(end.exec(output)![1]);
      return { output: output.replace(end, ""), code };
    },
    async [Symbol.asyncDispose]() {
      const ended = once(bash, "close");
      bash.stdin.end();
      await ended;
    },
  };
}
