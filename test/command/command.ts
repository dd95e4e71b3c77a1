/**
 * The command in this process, with streams of the test, and the service that it calls. `startCommandWorld` starts one
 * service for all tests of a file; `command` runs one command line to its end.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable, Writable } from "node:stream";
import { run } from "../../cli/src/program.ts";
import type { Io } from "../../cli/src/terminal.ts";
import { startTestService, type TestService } from "../support/in-process-service.ts";

/** The end of one command line. */
export interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
  /** Standard output as JSON. @throws SyntaxError */
  json(): ReturnType<typeof JSON.parse>;
}

export interface CommandOptions {
  /** The content of standard input. */
  readonly input?: string;
  /** Environment variables besides the folder of profiles. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Columns of the terminal that all three streams are; undefined: pipes. */
  readonly columns?: number;
  readonly signal?: AbortSignal;
  /** Standard input and output in place of those of `input` and the outcome. */
  readonly streams?: Partial<Pick<Io, "stdin" | "stdout" | "stderr">>;
}

/** A folder of profiles for one test. */
export interface Home extends Disposable {
  readonly folder: string;
  /** The environment that leads to it. */
  readonly env: Readonly<Record<string, string>>;
}

/** A stream that keeps what is written to it. */
export class Recorded extends Writable {
  readonly isTTY: boolean;
  readonly columns: number | undefined;
  text = "";

  constructor(columns: number | undefined) {
    super({ decodeStrings: false });
    this.isTTY = columns !== undefined;
    this.columns = columns;
  }

  override _write(chunk: string | Buffer, _encoding: string, done: (error?: Error | null) => void): void {
    this.text += chunk;
    done();
  }
}

/** Runs one command line in this process. Without `env`, it knows no service and has no home. */
export async function command(args: readonly string[], options: CommandOptions = {}): Promise<Outcome> {
  const { input = "", env = {}, columns, signal = new AbortController().signal, streams = {} } = options;
  const stdin = Object.assign(Readable.from(input === "" ? [] : [Buffer.from(input)]), {
    isTTY: columns !== undefined,
  });
  const [stdout, stderr] = [new Recorded(columns), new Recorded(columns)];
  const code = await run(args, { stdin, stdout, stderr, env, nowMs: Date.now, signal, ...streams });
  return { code, stdout: stdout.text, stderr: stderr.text, json: () => JSON.parse(stdout.text) };
}

/** Pipes that keep what is written to them, for parts of the command. */
export function recordedIo(env: Io["env"] = {}): Io {
  const pipes = { stdin: Readable.from([]), stdout: new Recorded(undefined), stderr: new Recorded(undefined) };
  return { ...pipes, env, nowMs: Date.now, signal: new AbortController().signal };
}

export function makeHome(): Home {
  const folder = mkdtempSync(join(tmpdir(), "latchkey-home-"));
  return { folder, env: { HOME: folder }, [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }) };
}

/** A running service, and the command with its address and the first operator's credential. */
export interface CommandWorld extends AsyncDisposable {
  readonly service: TestService;
  /** The environment of an operator. */
  readonly env: Readonly<Record<string, string>>;
  /** Runs a command line as the operator. */
  operator(args: readonly string[], options?: CommandOptions): Promise<Outcome>;
}

export async function startCommandWorld(settings: Readonly<Record<string, string>> = {}): Promise<CommandWorld> {
  const service = await startTestService(settings);
  const env = { LATCHKEY_ADDRESS: `http://${service.address}`, LATCHKEY_CREDENTIAL: service.admin };
  return {
    service,
    env,
    operator: (args, options = {}) => command(args, { ...options, env: { ...env, ...options.env } }),
    [Symbol.asyncDispose]: () => service[Symbol.asyncDispose](),
  };
}
