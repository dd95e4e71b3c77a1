import type { Readable, Writable } from "node:stream";

/** A stream that may be a terminal. */
interface MaybeTerminal {
  readonly isTTY?: boolean | undefined;
  readonly columns?: number | undefined;
}

/** Everything that the command takes from its process. Tests bring their own. */
export interface Io {
  readonly stdin: Readable & MaybeTerminal;
  readonly stdout: Writable & MaybeTerminal;
  readonly stderr: Writable & MaybeTerminal;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Milliseconds since the Unix epoch. */
  readonly nowMs: () => number;
  /** Aborted by SIGINT. */
  readonly signal: AbortSignal;
}

/** Below this, columns are taken as this: a terminal may say 0 while it starts. */
const LEAST_COLUMNS = 20;
/** The width for a terminal that tells none. */
const USUAL_COLUMNS = 80;

/** Whether someone is there to answer a question: both must be terminals, because questions go to standard error. */
export function isInteractive({ stdin, stderr }: Io): boolean {
  return stdin.isTTY === true && stderr.isTTY === true;
}

/** Whether the stream takes colour: a terminal that can, and NO_COLOR (no-color.org) is unset or empty. */
export function hasColour(io: Io, stream: MaybeTerminal): boolean {
  return stream.isTTY === true && !io.env.NO_COLOR && io.env.TERM !== "dumb";
}

/** Columns of a terminal; undefined for a pipe or a file, where nothing is cut. */
export function columnsOf(stream: MaybeTerminal): number | undefined {
  return stream.isTTY === true ? Math.max(LEAST_COLUMNS, stream.columns || USUAL_COLUMNS) : undefined;
}
