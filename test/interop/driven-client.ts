/** A client program that a test drives: a command in each line of its standard input, as JSON. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { until } from "../support/until.ts";

/** One command. `do` is `verify`, `batch`, `login` or `watch`. */
export interface Command {
  readonly do: "verify" | "batch" | "login" | "watch";
  /** `host:port`. The program keeps one channel to each, and to each with another certificate. */
  readonly address: string;
  /** Empty for none. */
  readonly credential: string;
  /** PEM files, for TLS with a certificate of the client. */
  readonly caFile?: string;
  readonly certFile?: string;
  readonly keyFile?: string;
  /** Of `verify`. */
  readonly key?: string;
  readonly cost?: number;
  /** Of `batch`: one request for each key, and one more with an invalid cost. */
  readonly keys?: readonly string[];
  /** Of `login`. */
  readonly email?: string;
  readonly password?: string;
  readonly deadlineMs?: number;
}

/** A message of the stream, or its end. After UNAVAILABLE the program starts it again with its cursor. */
export interface StreamEvent {
  readonly event: "message" | "end";
  readonly changes: readonly { readonly kind: string; readonly subjectId: string }[];
  readonly resync: boolean;
  /** Of an end: whether the program has a cursor to resume from. */
  readonly resumes: boolean;
  readonly error: { readonly code: number };
}

export interface DrivenClient extends AsyncDisposable {
  /** @throws Error with the program's output if it ends before it answers */
  ask(command: Command): Promise<Readonly<Record<string, unknown>>>;
  /** Starts the stream of changes. */
  watch(command: Omit<Command, "do">): void;
  /** Everything that the stream told so far. */
  readonly events: readonly StreamEvent[];
}

const DEADLINE_MS = 20_000;

export function driveClient(command: readonly string[], env: NodeJS.ProcessEnv = process.env): DrivenClient {
  const child = spawn(command[0]!, command.slice(1), { env, stdio: ["pipe", "pipe", "pipe"] });
  const answers = new Map<string, Readonly<Record<string, unknown>>>();
  const events: StreamEvent[] = [];
  let faults = "";
  let asked = 0;
  child.stderr.on("data", (chunk: Buffer) => {
    faults += chunk;
  });
  createInterface(child.stdout).on("line", (line) => {
    const told = JSON.parse(line);
    if ("event" in told) events.push(told);
    else answers.set(told.id, told);
  });
  const send = (line: object) => child.stdin.write(`${JSON.stringify({ deadlineMs: DEADLINE_MS, ...line })}\n`);
  return {
    events,
    async ask(line) {
      const id = `${++asked}`;
      send({ id, ...line });
      await until(() => {
        if (hasEnded(child)) throw new Error(`the client ended:\n${faults}`);
        return answers.has(id);
      }, `the client answers ${line.do}`);
      const { id: _id, ...answer } = answers.get(id)!;
      return answer;
    },
    watch: (line) => void send({ do: "watch", ...line }),
    async [Symbol.asyncDispose]() {
      if (hasEnded(child)) return;
      const ended = once(child, "close");
      child.kill();
      await ended;
    },
  };
}

function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}
