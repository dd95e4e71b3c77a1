/**
 * Walks through a quickstart of docs/quickstarts/ word for word, as a reader would: its `sh` blocks, the programs that
 * it says to save, and the command that it says to start in the background. Only addresses and folders are the test's.
 */
import { mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
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
  const ports = [await freePort(), await freePort()] as const;
  const adapted = (file: string) =>
    readFileSync(join(root, file), "utf8")
      .replaceAll("/tmp", folder)
      .replaceAll("localhost:8080", service.address)
      .replaceAll("port_value: 8080", `port_value: ${service.address.split(":")[1]}`)
      .replaceAll(/\b300[01]\b/g, (port) => `${ports[Number(port) - 3000]}`);
  const page = adapted(`docs/quickstarts/${name}`);
  await using shell = openShell(checkoutIn(folder, service.admin));
  for (const [, file] of page.matchAll(/\bcp (examples\/\S+)/g)) replaceLink(folder, file!, adapted(file!));
  const faults: string[] = [];
  let started = 0;
  for (const { 0: step, groups = {} } of page.matchAll(STEP)) {
    if (groups.lines !== undefined) faults.push(...(await faultsOfBlock(step, shell)));
    if (groups.name !== undefined) {
      const { output } = await shell.run("pwd");
      writeFileSync(join(output.trim(), groups.name), groups.program!);
    }
    if (groups.start !== undefined) {
      await start(groups.start, shell, logIn(folder, ++started));
    }
  }
  if (started > 0) await shell.run("kill $(jobs -p); wait");
  if (faults.length > 0) {
    for (let at = 1; at <= started; at++) faults.push(readFileSync(logIn(folder, at), "utf8"));
  }
  return faults;
}

/** Puts a file of its own in the place of one that the page copies, so that it has the test's ports. */
function replaceLink(folder: string, file: string, text: string): void {
  const [top, ...rest] = file.split("/") as [string, ...string[]];
  const own = join(folder, "checkout", top);
  rmSync(own);
  mkdirSync(join(own, ...rest.slice(0, -1)), { recursive: true });
  writeFileSync(join(own, ...rest), text);
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

/** The last words of a program's start: those of the pages' own programs, and Envoy's. */
const STARTED = /listening|starting main dispatch loop/;

async function start(command: string, shell: Shell, log: string): Promise<void> {
  writeFileSync(log, "");
  await shell.run(`${command} >${log} 2>&1 &`);
  await until(() => STARTED.test(readFileSync(log, "utf8")), `${command} listens`);
}

function logIn(folder: string, at: number): string {
  return join(folder, `background-${at}.log`);
}
