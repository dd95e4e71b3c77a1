import { pino } from "pino";

/** Facts for a log line: an allow-list by construction, since nobody hands whole requests or errors in. */
export type LogFields = Readonly<Record<string, string | number | boolean | undefined>>;

/** One JSON line per call, on standard output. Never hand in a secret, a token, a password or a raw key. */
export interface Log {
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields, cause?: unknown): void;
  /** Writes what is buffered; to be called before the process exits. */
  flush(): void;
}

export type LogLevel = "debug" | "info" | "warn" | "error" | "silent";

export function createLog(level: LogLevel): Log {
  const destination = pino.destination({ fd: 1, sync: true });
  const logger = pino({ level, base: null, timestamp: pino.stdTimeFunctions.isoTime }, destination);
  return {
    info: (message, fields = {}) => logger.info(fields, message),
    warn: (message, fields = {}) => logger.warn(fields, message),
    error: (message, fields = {}, cause) => logger.error({ ...fields, ...describe(cause) }, message),
    flush: () => destination.flushSync(),
  };
}

/** A driver's message may quote values (`Key (email)=(...)`), so only the kind of error and our own frames are kept. */
function describe(cause: unknown): Record<string, string> {
  if (!(cause instanceof Error)) return {};
  const frames = (cause.stack ?? "").split("\n").filter((line) => line.startsWith("    at "));
  const code = (cause as { code?: unknown }).code;
  return {
    error: cause.name,
    ...(typeof code === "string" ? { code } : {}),
    at: frames
      .slice(0, 6)
      .map((line) => line.trim().slice(3))
      .join(" < "),
  };
}
