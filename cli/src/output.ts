import type { Writable } from "node:stream";
import { EXIT } from "./exit-codes.ts";
import { Fault, ReaderGone } from "./faults.ts";
import type { Progress } from "./progress.ts";
import type { Answer, Listing, Result, Stream, Verbatim } from "./result.ts";
import type { GlobalFlags } from "./settings.ts";
import { cellText, fieldsText, lineText, type Place, tableText } from "./table.ts";
import { columnsOf, hasColour, type Io } from "./terminal.ts";
import { printableJson } from "./text.ts";

const INDENT = 2;

/** Writes a result in the form that the flags ask for. @throws ReaderGone if standard output was closed */
export async function writeResult(result: Result, format: GlobalFlags["format"], io: Io, progress: Progress) {
  switch (result.kind) {
    case "answer":
      return writeAnswer(result, format, io, progress);
    case "listing":
      return writeListing(result, format, io, progress);
    case "stream":
      return writeStream(result, format, io, progress);
    case "verbatim":
      return writeVerbatim(result, io, progress);
    default:
      return result satisfies never;
  }
}

async function writeAnswer(answer: Answer, format: GlobalFlags["format"], io: Io, progress: Progress): Promise<void> {
  const { json, quiet, secret, title, fields = [], tables = [] } = answer;
  if (format === "json" || format === "jsonl") return write(io.stdout, jsonText(json, format), progress);
  if (format === "quiet") return quiet === undefined ? undefined : write(io.stdout, `${quiet}\n`, progress);
  const out = secret === undefined ? io.stdout : io.stderr;
  const place = placeOf(io, out);
  const parts = [
    title === undefined ? "" : `${cellText(title, place)}\n`,
    fieldsText(fields, place),
    ...tables.map((table) => tableText(table, place)),
  ];
  await write(out, parts.filter((part) => part !== "").join(tables.length > 0 ? "\n" : ""), progress);
  if (secret !== undefined) await write(io.stdout, `${secret}\n`, progress);
}

/** People and --json need all pages; the others get each page as it comes. */
async function writeListing(list: Listing, format: GlobalFlags["format"], io: Io, progress: Progress): Promise<void> {
  const kept = [];
  let count = 0;
  for await (const page of list.pages) {
    count += page.length;
    progress.tell(`${count} so far`);
    if (format === "jsonl") await write(io.stdout, page.map(({ json }) => jsonText(json, format)).join(""), progress);
    else if (format === "quiet") await write(io.stdout, page.map(({ quiet }) => `${quiet}\n`).join(""), progress);
    else kept.push(...page);
  }
  if (format === "json") return write(io.stdout, jsonText(list.merged(kept.map(({ json }) => json)), format), progress);
  if (format !== "people") return;
  if (kept.length === 0 && io.stdout.isTTY === true) return write(io.stderr, `${list.none}\n`, progress);
  const table = { head: list.head, rows: kept.map(({ cells }) => cells) };
  await write(io.stdout, tableText(table, placeOf(io, io.stdout)), progress);
}

async function writeStream(stream: Stream, format: GlobalFlags["format"], io: Io, progress: Progress): Promise<void> {
  const place = placeOf(io, io.stdout);
  for await (const { json, quiet, cells } of stream.items) {
    const isJson = format === "json" || format === "jsonl";
    const line = isJson
      ? jsonText(json, "jsonl")
      : format === "quiet"
        ? `${quiet}\n`
        : lineText(cells, stream.head, place);
    await write(io.stdout, line, progress);
  }
}

async function writeVerbatim({ text }: Verbatim, io: Io, progress: Progress): Promise<void> {
  for await (const part of typeof text === "string" ? [text] : text) await write(io.stdout, part, progress);
}

/** Resolves once the stream has taken the text, so a slow reader slows the command. */
async function write(stream: Writable, text: string, progress: Progress): Promise<void> {
  if (text === "") return;
  progress.clear();
  await new Promise<void>((resolve, reject) => {
    stream.write(text, (error) => {
      if (error == null) resolve();
      else reject(writeFault((error as NodeJS.ErrnoException).code ?? error.name));
    });
  });
}

function writeFault(code: string): Error {
  if (code === "EPIPE" || code === "ERR_STREAM_DESTROYED") return new ReaderGone();
  return new Fault(EXIT.FAILED, `standard output can't be written (${code})`);
}

function jsonText(json: unknown, format: "json" | "jsonl"): string {
  return `${printableJson(json, format === "json" ? INDENT : 0)}\n`;
}

function placeOf(io: Io, stream: Io["stdout"]): Place {
  return { columns: columnsOf(stream), hasColour: hasColour(io, stream) };
}
