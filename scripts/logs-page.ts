/** docs/LOGS.md: every log line with what it means and what to do, from the table of messages. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { LOG_LINES, type LogLine } from "../src/lib/log-lines.ts";
import { heading, table } from "./markdown.ts";

const TABLE = "lib/log-lines.ts";
const SOURCES = join(import.meta.dirname, "../src");

const INTRODUCTION = `The service writes one JSON object a line to standard output: \`level\`, \`time\`, \`msg\`, and the fields of the message.
A development service writes the same as text, \`time LEVEL msg field=value ...\`. Commands write warnings and errors as
\`latchkey: msg field=value ...\` to standard error.

- A message is a constant text, so an alert can match the whole of \`msg\`. Every value is a field.
- To find the code that writes a line, search \`src/\` for its message in quotes.
- \`reason\` is a reason of [ERRORS.md](ERRORS.md), or a sentence where no call is concerned. \`code\` is that of the failed call, or
  the error code of PostgreSQL or the operating system. \`error\` and \`at\` are the kind of an error and where it happened.
- No line has a secret, a token, a password, an API key or an e-mail address in it.`;

const HEADINGS: Readonly<Record<keyof typeof LOG_LINES, string>> = {
  error: "error: an operator should look",
  warn: "warn: something is worse than it should be, and the service goes on",
  info: "info: what happened",
};

/** @throws Error that names the rows whose message no source writes */
export function logsPage(): string {
  const unwritten = unwrittenLines(LOG_LINES, sourceTexts());
  if (unwritten.length > 0) throw new Error(`src/${TABLE}: no source writes ${unwritten.join(", ")}`);
  const sections = Object.entries(LOG_LINES).map(([level, lines]) => section(level as keyof typeof LOG_LINES, lines));
  return `${[heading("Log lines", `src/${TABLE}`), INTRODUCTION, ...sections].join("\n\n")}\n`;
}

/** Messages of a table that no source has as a quoted text. */
export function unwrittenLines(
  lines: Readonly<Record<string, Readonly<Record<string, LogLine>>>>,
  sources: readonly string[],
): string[] {
  const messages = Object.values(lines).flatMap((ofLevel) => Object.keys(ofLevel));
  return messages.filter((message) => !sources.some((source) => source.includes(JSON.stringify(message))));
}

/** Texts of all sources except the table's. */
export function sourceTexts(): string[] {
  const files = readdirSync(SOURCES, { recursive: true, encoding: "utf8" });
  return files
    .filter((file) => file.endsWith(".ts") && file !== TABLE)
    .map((file) => readFileSync(join(SOURCES, file), "utf8"));
}

function section(level: keyof typeof LOG_LINES, lines: Readonly<Record<string, LogLine>>): string {
  const rows = Object.entries(lines).map(([message, { means, todo }]) => [`\`${message}\``, means, todo]);
  return `## ${HEADINGS[level]}\n\n${table(["message", "meaning", "what to do"], rows)}`;
}
