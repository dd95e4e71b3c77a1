/** The prose of a file: its comments or paragraphs line by line, and for a source of src/ also its string texts. */
import { nodesOf, parse } from "../support/syntax-tree.ts";

export interface Prose {
  /** From the project's root, with slashes. */
  readonly path: string;
  readonly blocks: readonly Block[];
  /** String texts, each with the line where it begins. */
  readonly texts: readonly { readonly number: number; readonly text: string }[];
}

/** A comment, or a page as a whole. */
export interface Block {
  readonly kind: "doc" | "comment" | "page";
  readonly lines: readonly Line[];
}

export interface Line {
  readonly number: number;
  /** The line of the file, without the end of a comment. */
  readonly raw: string;
  /** Without the marks of a comment. */
  readonly text: string;
  /** `continued`: it goes on with the paragraph of the line before it. */
  readonly kind: "begun" | "continued" | "laid out" | "table" | "empty";
}

/** Beginnings of lines that continue no paragraph: a list, a tag, a heading, a quotation, HTML, a definition. */
const BEGINS = /^\s*([-*+] |\d+[.)] |@\w|#|>|<|\[[^\]]+\]: )/;
/** A text in columns, a drawing. */
const LAID_OUT = /\S {2,}\S|[─│┌└├▼▲]|-->|──/;

export function readProse(path: string, text: string): Prose {
  const lines = text.split("\n");
  if (path.endsWith(".md")) return { path, blocks: [pageOf(lines)], texts: [] };
  return { path, blocks: commentsOf(lines), texts: path.startsWith("src/") ? textsOf(text) : [] };
}

/** Code between fences is no prose. */
function pageOf(lines: readonly string[]): Block {
  let isCode = false;
  const prose = lines.flatMap((raw, index) => {
    const isFence = /^\s*(```|~~~)/.test(raw);
    if (isFence) isCode = !isCode;
    return isFence || isCode ? [unmarked(index, "", "")] : [unmarked(index, raw, raw)];
  });
  return { kind: "page", lines: kindsOf(prose) };
}

/** Comments that have their lines for themselves. One behind code on its line is not looked at. */
function commentsOf(lines: readonly string[]): Block[] {
  const blocks: { kind: "doc" | "comment"; lines: Unmarked[] }[] = [];
  let isInside = false;
  let indentOfLast: string | undefined;
  for (const [index, raw] of lines.entries()) {
    const [, indent, begin, rest = ""] = /^(\s*)(\/\*\*?|\/\/)(.*)$/.exec(raw) ?? [];
    if (isInside) {
      const end = raw.indexOf("*/");
      const body = end < 0 ? raw : raw.slice(0, end).trimEnd();
      blocks.at(-1)!.lines.push(unmarked(index, body, body.replace(/^\s*\*? ?/, "")));
      isInside = end < 0;
    } else if (begin === "//") {
      if (indent !== indentOfLast) blocks.push({ kind: "comment", lines: [] });
      blocks.at(-1)!.lines.push(unmarked(index, raw, rest.replace(/^ /, "")));
    } else if (begin !== undefined) {
      const end = rest.indexOf("*/");
      const body = end < 0 ? rest : rest.slice(0, end).trimEnd();
      const line = unmarked(index, `${indent}${begin}${body}`, body.replace(/^ /, ""));
      blocks.push({ kind: begin === "/**" ? "doc" : "comment", lines: [line] });
      isInside = end < 0;
    }
    indentOfLast = begin === "//" && !isInside ? indent : undefined;
  }
  return blocks.map(({ kind, lines }) => ({ kind, lines: kindsOf(lines) }));
}

type Unmarked = Omit<Line, "kind">;

function unmarked(index: number, raw: string, text: string): Unmarked {
  return { number: index + 1, raw: raw.trimEnd(), text };
}

/** A line goes on with a paragraph if it stands where the text of that paragraph stands. */
function kindsOf(lines: readonly Unmarked[]): Line[] {
  let column: number | undefined;
  let isTag = false;
  let isHardBreak = false;
  return lines.map((line) => {
    const kind = kindOf(line, column, isTag);
    const isBroken = isHardBreak;
    isHardBreak = / {2}$|\\$/.test(line.text);
    if (kind === "begun") {
      const [marker = ""] = /^\s*([-*+]|\d+[.)]) +/.exec(line.text) ?? [];
      isTag = /^\s*@\w/.test(line.text);
      column = /^\s*(#|<|\[)/.test(line.text) ? undefined : marker.length || indentOf(line.text);
    } else if (kind !== "continued") {
      column = undefined;
    }
    return { ...line, kind: kind === "continued" && isBroken ? "begun" : kind };
  });
}

function kindOf({ text }: Unmarked, column: number | undefined, isTag: boolean): Line["kind"] {
  if (text.trim() === "") return "empty";
  if (/^\s*\|/.test(text)) return "table";
  const [marker = ""] = BEGINS.exec(text) ?? [];
  if (LAID_OUT.test(text.slice(marker.length).trimStart())) return "laid out";
  if (marker !== "") return "begun";
  if (column !== undefined && (isTag || indentOf(text) === column)) return "continued";
  return indentOf(text) < 2 ? "begun" : "laid out";
}

function indentOf(text: string): number {
  return text.length - text.trimStart().length;
}

function textsOf(text: string): Prose["texts"] {
  const breaks = [...text.matchAll(/\n/g)].map(({ index }) => index);
  return nodesOf(parse(text)).flatMap((node) => {
    const value = node.type === "TemplateElement" ? (node.value as { cooked?: unknown }).cooked : node.value;
    if ((node.type !== "Literal" && node.type !== "TemplateElement") || typeof value !== "string") return [];
    const next = breaks.findIndex((end) => end >= node.start);
    return [{ number: next < 0 ? breaks.length + 1 : next + 1, text: value }];
  });
}
