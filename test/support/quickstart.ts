/**
 * Walks through a quickstart of docs/quickstarts/ word for word, as a reader would: its `sh` blocks, the programs that
 * it says to save, and the command that it says to start in the background. Only addresses and folders are the test's.
 */
import { mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { freePort, privateFolder } from "./child-process.ts";
import { blocksOf, openShell, runBlocks, type Shell } from "./documented-lines.ts";
import { until } from "./until.ts";

const root = join(import.meta.dirname, "../..");
/** A block of shell lines, a program to save, or a command to start. */
const STEP =
  /^```sh\n(?<lines>[\s\S]*?)^```\n|^Save this as (?<name>\S+):\n\n```\w+\n(?<program>[\s\S]*?)^```\n|in the background with `(?<start>.+) &`/gm;

export interface RunningServer {
  /** `host:port` */
  readonly address: string;
  /** The first operator's credential. */
  readonly admin: string;
}

/** @returns what differs from the page, one text for each command; empty if nothing does */
export async function walkQuickstart(name: string, service: RunningServer): Promise<readonly string[]> {
  const folder = privateFolder("latchkey-quickstart-");
  const page = readFileSync(join(root, "docs/quickstarts", name), "utf8")
    .replaceAll("/tmp", folder)
    .replaceAll("localhost:8080", service.address)
    .replaceAll(/\b3000\b/g, `${await freePort()}`);
  await using shell = openShell(checkoutIn(folder, service.admin));
  const faults: string[] = [];
  let isStarted = false;
  for (const { 0: step, groups = {} } of page.matchAll(STEP)) {
    if (groups.lines !== undefined) faults.push(...(await faultsOfBlock(step, shell)));
    if (groups.name !== undefined) {
      const { output } = await shell.run("pwd");
      writeFileSync(join(output.trim(), groups.name), groups.program!);
    }
    if (groups.start !== undefined) {
      isStarted = true;
      await start(groups.start, shell, folder);
    }
  }
  if (isStarted) await shell.run("kill $!; wait $!");
  if (isStarted && faults.length > 0) faults.push(readFileSync(logIn(folder), "utf8"));
  return faults;
}

/** A checkout with the data folder of a service that runs in it. */
function checkoutIn(folder: string, admin: string): string {
  const checkout = join(folder, "checkout");
  mkdirSync(join(checkout, "data"), { recursive: true });
  writeFileSync(join(checkout, "data/admin-credential"), admin);
  for (const entry of readdirSync(root)) {
    if (entry !== "data") symlinkSync(join(root, entry), join(checkout, entry));
  }
  return checkout;
}

/**
 * Runs a block. A comment behind a command says what the answer has: a status of HTTP, or a part of the text; then
 * `with NAME fields` for a header.
 */
async function faultsOfBlock(block: string, shell: Shell): Promise<readonly string[]> {
  const outcomes = await runBlocks(blocksOf(block), shell, "");
  return outcomes.flatMap(({ command, output, fault }) => {
    const [, part = "", fields = ""] = /\s# (.+?)(?:, with (\S+) fields)?$/.exec(command) ?? [];
    const isThere = /^\d{3}$/.test(part) ? new RegExp(`^HTTP/1\\.\\d ${part} `).test(output) : output.includes(part);
    if (fault === undefined && isThere && output.includes(fields)) return [];
    return [`${command}\n${fault ?? ""}\n${output}`];
  });
}

async function start(command: string, shell: Shell, folder: string): Promise<void> {
  const log = logIn(folder);
  writeFileSync(log, "");
  await shell.run(`${command} >${log} 2>&1 &`);
  await until(() => readFileSync(log, "utf8").includes("listening"), `${command} listens`);
}

function logIn(folder: string): string {
  return join(folder, "background.log");
}
