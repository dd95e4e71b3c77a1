import { addAbortSignal } from "node:stream";
import { confirm, isCancel, password, text } from "@clack/prompts";
import { EXIT } from "./exit-codes.ts";
import { Fault, usage } from "./faults.ts";
import { type Io, isInteractive } from "./terminal.ts";
import { printable } from "./text.ts";

/** A secret is shorter; what is longer is a file that was piped by mistake. */
const MOST_BYTES = 16_384;

/**
 * Asks before something is destroyed. `--yes` answers.
 *
 * @throws Fault for "no", for ctrl-c, and where there is no terminal to ask on
 */
export async function confirmed(question: string, yes: boolean, io: Io): Promise<void> {
  if (yes) return;
  if (!isInteractive(io)) throw usage("this destroys something, and there is no terminal to ask on; give --yes");
  const answer = await confirm({ message: printable(question), initialValue: false, ...streamsOf(io) });
  if (isCancel(answer)) throw new Fault(EXIT.INTERRUPTED, "nothing was done");
  if (!answer) throw new Fault(EXIT.FAILED, "nothing was done");
}

/**
 * A text that is no secret, from a prompt.
 *
 * @param flag by which it can be given where there is no terminal
 * @throws Fault for ctrl-c, and where there is no terminal to ask on
 */
export async function asked(io: Io, what: string, initial: string | undefined, flag: string): Promise<string> {
  if (!isInteractive(io)) throw usage(`${flag} is needed where there is no terminal to ask for the ${what} on`);
  const known = initial === undefined ? {} : { initialValue: printable(initial) };
  const answer = await text({ message: `The ${what}`, ...known, ...streamsOf(io) });
  if (isCancel(answer)) throw new Fault(EXIT.INTERRUPTED, "nothing was done");
  return (answer ?? "").trim();
}

/**
 * A secret from a prompt without echo, or from standard input where that is no terminal. The line feed at the end does
 * not belong to it.
 *
 * @param what it is, such as "API key"
 * @throws Fault if there is none, or if it has several lines
 */
export async function secretFrom(io: Io, what: string): Promise<string> {
  const secret = io.stdin.isTTY === true ? await prompted(io, what) : await piped(io, what);
  if (secret === "") throw usage(`standard input has no ${what}`);
  return secret;
}

/**
 * Several secrets, as `secretFrom`: a prompt for each, or a line of standard input for each.
 *
 * @throws Fault if standard input has another number of lines
 */
export async function secretsFrom(io: Io, whats: readonly string[]): Promise<readonly string[]> {
  if (io.stdin.isTTY !== true) {
    const lines = (await pipedText(io, whats.join(" and "))).split(/\r?\n/);
    if (lines.length === whats.length && !lines.includes("")) return lines;
    throw usage(`standard input must have ${whats.length} lines: the ${whats.join(", then the ")}`);
  }
  const secrets: string[] = [];
  for (const what of whats) secrets.push(await secretFrom(io, what));
  return secrets;
}

async function prompted(io: Io, what: string): Promise<string> {
  if (!isInteractive(io)) throw usage(`there is no terminal to ask for the ${what} on; write it to standard input`);
  const answer = await password({ message: `The ${what}, which is not shown`, mask: "", ...streamsOf(io) });
  if (isCancel(answer)) throw new Fault(EXIT.INTERRUPTED, "nothing was done");
  return answer ?? "";
}

async function piped(io: Io, what: string): Promise<string> {
  const text = await pipedText(io, what);
  if (/[\r\n]/.test(text)) throw usage(`standard input has several lines; the ${what} must be one`);
  return text;
}

async function pipedText({ stdin, signal }: Io, what: string): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  // SIGINT ends the wait for a writer that never comes.
  for await (const chunk of addAbortSignal(signal, stdin)) {
    bytes += chunk.length;
    if (bytes > MOST_BYTES) throw usage(`standard input has more than a ${what}: over ${MOST_BYTES} bytes`);
    chunks.push(Buffer.from(chunk));
  }
  return Buffer.concat(chunks)
    .toString("utf8")
    .replace(/\r?\n$/, "");
}

function streamsOf(io: Io) {
  return { input: io.stdin, output: io.stderr, signal: io.signal };
}
