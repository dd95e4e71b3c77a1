/**
 * The rules for prose: comments, pages of documentation, and the string texts of src/. prose-text.ts finds the prose of
 * a file; this file judges it.
 */
import { basename, dirname } from "node:path";
import type { Block, Line, Prose } from "./prose-text.ts";

export const MOST_COLUMNS = 120;
/** A line that reaches this column is not short, even if the next word would have fitted. */
export const SHORT_COLUMNS = 100;

/** Words with a plain equivalent -> that equivalent. */
export const PLAIN_WORDS: readonly { readonly word: RegExp; readonly plain: string }[] = [
  { word: /\bnobody(?:'s)?\b/i, plain: "name the subject, with a negation" },
  { word: /\bsomebody(?:'s)?\b/i, plain: "name the subject" },
  { word: /\bwhoever\b/i, plain: "the client that ..., the caller who ..." },
  { word: /\banew\b/i, plain: "again" },
  { word: /(?<!\bnot\b[^.]*)\bbut for\b/i, plain: "except" },
  { word: /\bfor want of\b/i, plain: "because there is no ..." },
  { word: /\bout of reach\b/i, plain: "unreachable" },
  { word: /\bno more(?=\s*(?:[.,;:)"]|$|(?:and|or|but|when|while|once|until|after)\b))/i, plain: "no longer" },
];

/** Folders of src/ without a map: each file says by its name what it is. */
const NO_MAP = /^src\/(gen|postgres\/migrations)(\/|$)/;

/** Every fault of the prose of a house, one line each, in the order of the files. */
export function proseFaults(files: readonly Prose[]): string[] {
  return [...files.flatMap(faultsOfFile), ...mapFaults(files)];
}

function faultsOfFile(file: Prose): string[] {
  return [
    ...file.blocks.flatMap((block) => [
      ...block.lines.flatMap((line) => lengthFaults(file.path, line)),
      ...wrapFaults(file.path, block),
      ...(block.kind === "doc" ? docFaults(file.path, block) : []),
      ...block.lines.flatMap((line) => wordFaults(file.path, line.number, line.text)),
    ]),
    ...file.texts.flatMap(({ number, text }) => wordFaults(file.path, number, text)),
  ];
}

/** Tables can't be broken, and neither can links. */
function lengthFaults(path: string, { number, raw, kind }: Line): string[] {
  const columns = [...raw.replaceAll(/\]\([^)]*\)/g, "]").replaceAll(/https?:\/\/\S+/g, "")].length;
  if (kind === "table" || columns <= MOST_COLUMNS) return [];
  return [`columns: ${path}:${number} has ${columns} columns`];
}

/** A line that continues the paragraph of the line before begins with a word that had no room there. */
function wrapFaults(path: string, { lines }: Block): string[] {
  return lines.flatMap((line, index) => {
    const before = lines[index - 1];
    if (line.kind !== "continued" || before === undefined) return [];
    const [word = ""] = line.text.trimStart().split(/\s/, 1);
    const end = [...before.raw].length;
    if (end >= SHORT_COLUMNS || end + 1 + [...word].length > MOST_COLUMNS) return [];
    return [`wrapping: ${path}:${before.number} ends at column ${end}, where "${word}" would have fitted`];
  });
}

/**
 * "Whether" is no fault: it says what a boolean is.
 */
function docFaults(path: string, { lines }: Block): string[] {
  const first = lines.find(({ text }) => text.trim() !== "");
  const [, word] = /^\s*(Who|Whom|Whose|What|Whoever|Whatever|That)\b/.exec(first?.text ?? "") ?? [];
  const vague = lines.filter(({ text }) => /\bso (many|long)\b(?! (as|that)\b)/i.test(text));
  return [
    ...(word === undefined ? [] : [`first line: ${path}:${first?.number} begins with ${word}`]),
    ...vague.map(({ number }) => `vague: ${path}:${number} says "so many" or "so long" for a number or a constant`),
  ];
}

/** Code in backticks may say anything. */
function wordFaults(path: string, number: number, text: string): string[] {
  const said = text.replaceAll(/`[^`]*`/g, "");
  return PLAIN_WORDS.flatMap(({ word, plain }) => {
    const found = word.exec(said)?.[0];
    return found === undefined ? [] : [`words: ${path}:${number} says "${found}"; rather: ${plain}`];
  });
}

/** Every file in a folder of src/ stands on the map of that folder, which is the opening comment of one of its files. */
function mapFaults(files: readonly Prose[]): string[] {
  const sources = files.filter(({ path }) => path.startsWith("src/") && !NO_MAP.test(dirname(path)));
  return [...Map.groupBy(sources, ({ path }) => dirname(path))].flatMap(([folder, ours]) =>
    ours
      .filter(({ path }) => !ours.some((other) => isOnMap(path, other)))
      .map(({ path }) => `map: ${path} is named in no opening comment of ${folder}/`),
  );
}

/** A file whose opening comment names another file holds the map, and need not name itself. */
function isOnMap(path: string, other: Prose): boolean {
  const map = other.blocks.find(({ kind }) => kind === "doc")?.lines.map(({ text }) => text) ?? [];
  const names = map.flatMap((text) => text.match(/[\w.-]+\.ts\b/g) ?? []);
  return names.includes(basename(path)) || (other.path === path && (names.length > 0 || dirname(path) === "src"));
}
