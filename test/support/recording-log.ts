import type { Log, LogFields } from "../../src/lib/log.ts";

export interface LogLine {
  readonly level: "info" | "warn" | "error";
  readonly message: string;
  readonly fields: LogFields;
  /** The error behind an error line. */
  readonly cause?: unknown;
}

/** A log that keeps its lines, so that a test can read them. */
export function recordingLog(): Log & { readonly lines: readonly LogLine[] } {
  const lines: LogLine[] = [];
  const write =
    (level: LogLine["level"]) =>
    (message: string, fields: LogFields = {}, cause?: unknown) =>
      void lines.push({ level, message, fields, ...(cause === undefined ? {} : { cause }) });
  return { lines, info: write("info"), warn: write("warn"), error: write("error"), flush: () => {} };
}
