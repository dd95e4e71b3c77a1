import Table from "cli-table3";
import type { Cell, Fields, Head, TableOf } from "./result.ts";
import { styled } from "./styles.ts";
import { cutTo, printable, widthOf } from "./text.ts";

/** How a place shows text. */
export interface Place {
  /** undefined: nothing is cut. */
  readonly columns: number | undefined;
  readonly hasColour: boolean;
}

const GAP = "  ";
/** A text is cut to this only after every extra column is dropped, and never below LEAST_WIDTH. */
const READABLE_WIDTH = 12;
const LEAST_WIDTH = 6;
/** Below this, values have no column of their own. It is the width of an id. */
const LEAST_VALUE_WIDTH = 20;
const NO_BORDERS = {
  ...{ top: "", "top-mid": "", "top-left": "", "top-right": "", bottom: "", "bottom-mid": "", "bottom-left": "" },
  ...{ "bottom-right": "", left: "", "left-mid": "", mid: "", "mid-mid": "", right: "", "right-mid": "", middle: "" },
};

/**
 * A table without borders, with a line for each row, as wide as the place allows (see `fit`). Where nothing fits, as on
 * a terminal of 20 columns, each row becomes a block of lines. Every line ends in a line feed.
 */
export function tableText({ head, rows }: TableOf, place: Place): string {
  const texts = rows.map((row) => row.map(textOf));
  const natural = head.map(({ name }, at) => Math.max(widthOf(name), ...texts.map((row) => widthOf(row[at]!))));
  const widths = fit(head, natural, place.columns ?? Number.POSITIVE_INFINITY);
  if (widths === undefined) {
    return rows
      .map((row) =>
        fieldsText(
          head.map(({ name }, at) => [labelOf(name), row[at]!]),
          place,
        ),
      )
      .join("\n");
  }
  const table = new Table({
    chars: NO_BORDERS,
    style: { head: [], border: [], "padding-left": 0, "padding-right": 0 },
  });
  const last = widths.findLastIndex((width) => width !== undefined);
  const line = (cells: readonly Cell[]) => {
    const kept = cells.flatMap((cell, at) => {
      const width = widths[at];
      return width === undefined ? [] : [shown(cutTo(textOf(cell), width), cell, place) + (at === last ? "" : GAP)];
    });
    table.push(kept);
  };
  line(head.map(({ name }) => ({ text: name, style: "head" as const })));
  for (const row of rows) line(row);
  return linesOf(table.toString());
}

/**
 * A line for each field that is not empty, with the values in one column. Longer values go on below, at a blank. Where
 * there is no room for the column, a value that does not fit beside its label stands below it.
 */
export function fieldsText(fields: Fields, place: Place): string {
  const { columns = Number.POSITIVE_INFINITY, hasColour } = place;
  const filled = fields.filter(([, value]) => textOf(value) !== "");
  const labelWidth = Math.max(0, ...filled.map(([label]) => widthOf(label)));
  const room = columns - labelWidth - GAP.length;
  const name = (label: string) => styled(label, "faint", hasColour);
  const lines = filled.map(([label, value]) => {
    const text = textOf(value);
    if (room < LEAST_VALUE_WIDTH) {
      const isBeside = widthOf(label) + 2 + widthOf(text) <= columns;
      return `${name(`${label}:`)}${isBeside ? " " : "\n"}${shown(text, value, place)}\n`;
    }
    const margin = `\n${" ".repeat(labelWidth + GAP.length)}`;
    const parts = wrapped(text, room).map((part) => shown(part, value, place));
    return `${name(label)}${" ".repeat(labelWidth - widthOf(label) + GAP.length)}${parts.join(margin)}\n`;
  });
  return lines.join("");
}

/** Lines of at most this width, broken at blanks. A longer word stays whole, so that it can be copied. */
function wrapped(text: string, width: number): string[] {
  const lines: string[] = [];
  for (const word of text.split(" ")) {
    const last = lines.at(-1);
    if (last !== undefined && widthOf(last) + 1 + widthOf(word) <= width) lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
  }
  return lines;
}

/**
 * One line of cells, for items that come over time, so columns have no common width. Where it is too wide, extra cells
 * are left out, the last one first. What is left is not cut.
 */
export function lineText(cells: readonly Cell[], head: readonly Head[], place: Place): string {
  const filled = cells.map((cell, at) => ({ cell, role: head[at]!.role })).filter(({ cell }) => textOf(cell) !== "");
  const width = () => filled.reduce((sum, { cell }) => sum + widthOf(textOf(cell)) + GAP.length, -GAP.length);
  while (width() > (place.columns ?? Number.POSITIVE_INFINITY)) {
    const at = filled.findLastIndex(({ role }) => role === "extra");
    if (at < 0) break;
    filled.splice(at, 1);
  }
  return `${filled.map(({ cell }) => shown(textOf(cell), cell, place)).join(GAP)}\n`;
}

/** A cell as it is shown. Its text can't write to the terminal. */
export function cellText(cell: Cell, place: Place): string {
  return shown(textOf(cell), cell, place);
}

function textOf(cell: Cell): string {
  return printable(typeof cell === "string" ? cell : cell.text);
}

function shown(text: string, cell: Cell, { hasColour }: Place): string {
  return typeof cell === "string" ? text : styled(text, cell.style, hasColour);
}

function labelOf(name: string): string {
  return name.charAt(0) + name.slice(1).toLowerCase();
}

/**
 * The width of each column, undefined for one that is not shown. First the extra columns are dropped, the last one
 * first, then columns are cut: the extra ones before the texts, the one with the most room first. Undefined if even
 * that is too wide.
 */
function fit(
  head: readonly Head[],
  natural: readonly number[],
  columns: number,
): readonly (number | undefined)[] | undefined {
  const widths: (number | undefined)[] = [...natural];
  const leastOf = (at: number, isReadable: boolean) => {
    const {
      role,
      least = role === "text" ? LEAST_WIDTH : Number.POSITIVE_INFINITY,
      readable = READABLE_WIDTH,
    } = head[at]!;
    return Math.min(widths[at] ?? 0, role === "text" && isReadable ? Math.max(least, readable) : least);
  };
  const needed = (isReadable: boolean) => {
    const kept = widths.flatMap((width, at) => (width === undefined ? [] : [leastOf(at, isReadable)]));
    return kept.reduce((sum, width) => sum + width, GAP.length * (kept.length - 1));
  };
  for (let at = head.length - 1; at >= 0 && needed(true) > columns; at--) {
    if (head[at]!.role === "extra") widths[at] = undefined;
  }
  if (needed(false) > columns) return undefined;
  const total = widths.reduce<number>(
    (sum, width) => sum + (width === undefined ? 0 : width + GAP.length),
    -GAP.length,
  );
  for (let over = total - columns; over > 0; over--) {
    const room = widths.map((width = 0, at) => width - leastOf(at, false));
    const extra = room.map((spare, at) => (head[at]!.role === "extra" ? spare : 0));
    const widest = extra.some((spare) => spare > 0)
      ? extra.indexOf(Math.max(...extra))
      : room.indexOf(Math.max(...room));
    widths[widest] = widths[widest]! - 1;
  }
  return widths;
}

/** Without the blanks that pad the last column. */
function linesOf(text: string): string {
  return text
    .split("\n")
    .map((line) => `${line.trimEnd()}\n`)
    .join("");
}
