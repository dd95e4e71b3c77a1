/** Clients with near verification: one for each process of the service, all in one process of their own. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { FaultProxy } from "../support/fault-proxy.ts";
import { nowMs, type StartRecord } from "./history.ts";
import type { Crash } from "./node.ts";

/** A line to the process. Without `apiKey` it asks for the memory. */
export interface NearCommand {
  readonly id: number;
  /** Index of the client, which is that of its process of the service. */
  readonly client: number;
  readonly apiKey?: string;
  readonly scope: string;
}

/** A line of the process. */
export interface NearSaid {
  readonly id: number;
  readonly judged?: NearJudged;
  /** Name of the error that `verify` threw. */
  readonly error?: string;
  readonly memory?: Memory;
}

export interface NearJudged {
  readonly verdict: string;
  readonly source: "near" | "service";
  readonly ageMs: number;
}

export interface Memory {
  readonly rssBytes: number;
  readonly heapBytes: number;
}

/** The process number of crashes of the near clients. */
export const NEAR_PROCESS = -1;
const PROGRAM = join(import.meta.dirname, "near-process.ts");
/** The answer to a command if the process ends before. */
const ENDED: NearSaid = { id: 0, error: "LatchkeyUnavailable" };

export class NearClients {
  /** Between each client and its process of the service. */
  readonly links: readonly FaultProxy[];
  readonly crashes: Crash[] = [];
  readonly starts: StartRecord[] = [];
  readonly #nodeFlags: readonly string[];
  readonly #waiting = new Map<number, (said: NearSaid) => void>();
  #credential = "";
  #child: ChildProcess | undefined;
  #ready = Promise.withResolvers<void>();
  #isEndExpected = false;
  #output = "";
  #asked = 0;

  constructor(links: readonly FaultProxy[], nodeFlags: readonly string[]) {
    this.links = links;
    this.#nodeFlags = nodeFlags;
  }

  /** The standard error of all lives of the process. */
  get output(): string {
    return this.#output;
  }

  /** @param credential of all clients, with scope `verify`; as before if absent */
  start(credential = this.#credential): void {
    this.#credential = credential;
    this.#isEndExpected = false;
    const urls = this.links.map(({ port }) => `http://127.0.0.1:${port}`).join(",");
    const env = { ...process.env, NEAR_URLS: urls, NEAR_CREDENTIAL: credential };
    const child = spawn(process.execPath, [...this.#nodeFlags, PROGRAM], { env, stdio: ["pipe", "pipe", "pipe"] });
    const ready = Promise.withResolvers<void>();
    this.#child = child;
    this.#ready = ready;
    const start: StartRecord = { process: NEAR_PROCESS, startedMs: nowMs() };
    this.starts.push(start);
    void ready.promise.then(() => {
      start.readyMs = nowMs();
    });
    const kill = () => child.kill("SIGKILL");
    process.once("exit", kill);
    child.stdin!.on("error", () => {});
    child.stderr!.on("data", (chunk: Buffer) => {
      this.#output += chunk;
    });
    createInterface({ input: child.stdout! }).on("line", (line) => {
      if (line === "ready") ready.resolve();
      else this.#hear(JSON.parse(line) as NearSaid);
    });
    child.once("close", () => {
      process.off("exit", kill);
      ready.resolve();
      if (this.#child === child) this.#child = undefined;
      for (const answer of this.#waiting.values()) answer(ENDED);
      this.#waiting.clear();
      if (this.#isEndExpected) return;
      this.crashes.push({ process: NEAR_PROCESS, atMs: nowMs(), output: this.#output });
    });
  }

  /** Starts the process unless it runs, and resolves once it takes commands. */
  async ready(): Promise<void> {
    if (this.#child === undefined) this.start();
    this.signal("SIGCONT");
    await this.#ready.promise;
  }

  /** Judges a key at one client. Without a process the answer is that of an unreachable service. */
  verify(client: number, apiKey: string, scope: string): Promise<NearSaid> {
    return this.#ask({ client, apiKey, scope });
  }

  /** undefined while the process does not run. */
  async memory(): Promise<Memory | undefined> {
    return (await this.#ask({ client: 0, scope: "" })).memory;
  }

  signal(signal: "SIGSTOP" | "SIGCONT"): void {
    this.#child?.kill(signal);
  }

  async kill(): Promise<void> {
    const child = this.#child;
    if (child === undefined) return;
    this.#isEndExpected = true;
    const closed = once(child, "close");
    child.kill("SIGKILL");
    await closed;
  }

  #ask(command: Omit<NearCommand, "id">): Promise<NearSaid> {
    const child = this.#child;
    if (child === undefined) return Promise.resolve(ENDED);
    const id = ++this.#asked;
    const said = new Promise<NearSaid>((resolve) => this.#waiting.set(id, resolve));
    child.stdin!.write(`${JSON.stringify({ id, ...command })}\n`);
    return said;
  }

  #hear(said: NearSaid): void {
    this.#waiting.get(said.id)?.(said);
    this.#waiting.delete(said.id);
  }
}
