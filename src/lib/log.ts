import { type DestinationStream, pino } from "pino";
import { codedCause } from "./errors.ts";
import type { LOG_LINES } from "./log-lines.ts";
import { StandardOutput } from "./standard-output.ts";
import { activeTraceId } from "./tracing.ts";

/** The fields of a log line. Callers name each field, so whole requests or errors never get in. */
export type LogFields = Readonly<Record<string, string | number | boolean | undefined>>;

/** The messages of one level. A message that lib/log-lines.ts does not explain does not compile. */
export type InfoLine = keyof typeof LOG_LINES.info;
export type WarnLine = keyof typeof LOG_LINES.warn;
export type ErrorLine = keyof typeof LOG_LINES.error;

/**
 * The log, one line for each method call, on standard output. Never pass a secret, a token, a password or a raw key.
 */
export interface Log {
  info(message: InfoLine, fields?: LogFields): void;
  warn(message: WarnLine, fields?: LogFields): void;
  error(message: ErrorLine, fields?: LogFields, cause?: unknown): void;
  /** Writes what is buffered. Call it before the process exits. */
  flush(): void;
  /** Number of lines that were lost, because nothing read them or a write failed. Absent for a log that loses none. */
  droppedLines?(): number;
}

export type LogLevel = "debug" | "info" | "warn" | "error" | "silent";
/** `json` for machines, `text` for a person at a terminal. */
export type LogFormat = "json" | "text";

export function createLog(level: LogLevel, format: LogFormat = "json"): Log {
  // Not pino's own destination: its flush never ends if the disk is full or the pipe has no reader.
  const stdout = StandardOutput.shared();
  const destination: DestinationStream = format === "json" ? stdout : { write: (line) => stdout.write(toText(line)) };
  const logger = pino({ level, base: null, timestamp: pino.stdTimeFunctions.isoTime }, destination);
  return {
    info: (message, fields = {}) => logger.info(inTrace(fields), message),
    warn: (message, fields = {}) => logger.warn(inTrace(fields), message),
    error: (message, fields = {}, cause) => logger.error({ ...inTrace(fields), ...describe(cause) }, message),
    flush: () => stdout.flush(),
    droppedLines: () => stdout.dropped,
  };
}

/**
 * The log of a command. It writes warnings and errors as lines to standard error, because the command's answer is on
 * standard output.
 *
 * @param showsInfo whether it writes the lines of level info too
 */
export function createCommandLog(showsInfo = false): Log {
  const write = (message: string, fields: LogFields = {}) =>
    void process.stderr.write(`latchkey: ${message}${facts(fields)}\n`);
  return { info: showsInfo ? write : () => {}, warn: write, error: write, flush: () => {} };
}

/** The fields of a line, with the trace of the call during which it is written, if that call is traced. */
function inTrace(fields: LogFields): LogFields {
  const traceId = activeTraceId();
  return traceId === undefined || "trace_id" in fields ? fields : { trace_id: traceId, ...fields };
}

/**
 * The loggable part of an error: its kind, its code and our own stack frames. A driver's message is left out, because
 * it may quote values (`Key (email)=(...)`).
 */
function describe(cause: unknown): Record<string, string> {
  if (!(cause instanceof Error)) return {};
  const frames = (cause.stack ?? "").split("\n").filter((line) => line.startsWith("    at "));
  const code = codedCause(cause)?.code;
  return {
    error: cause.name,
    ...(code !== undefined && { code }),
    at: frames
      .slice(0, 6)
      .map((line) => line.trim().slice(3))
      .join(" < "),
  };
}

/** `12:34:56.789 WARN message field=value` */
function toText(line: string): string {
  const { level, time, msg, ...fields } = JSON.parse(line) as { level: number; time: string; msg: string };
  return `${time.slice(11, 23)} ${(pino.levels.labels[level] ?? "").toUpperCase().padEnd(5)} ${msg}${facts(fields)}\n`;
}

function facts(fields: Readonly<Record<string, unknown>>): string {
  const known = Object.entries(fields).filter(([, value]) => value !== undefined);
  return known.map(([name, value]) => ` ${name}=${value}`).join("");
}
