import stringWidth from "string-width";

/**
 * Characters by which a text could move the cursor, recolour, hide or reorder what a terminal shows: C0, C1, line and
 * paragraph separators, and the invisible characters of direction and width. The service refuses them in most fields;
 * the command does not rely on that.
 */
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what this looks for
const CONTROL = /[\u0000-\u001f\u007f-\u009f\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;
/** The same without tab and line feed, which texts of several lines may have. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: as above
const FORBIDDEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]/;

/** A text of one line that can't write to a terminal: each control character becomes an escape such as `\u001b`. */
export function printable(text: string): string {
  return text.toWellFormed().replace(CONTROL, escaped);
}

/** Whether a text has control characters other than tab and line feed. */
export function hasControls(text: string): boolean {
  return FORBIDDEN.test(text) || !text.isWellFormed();
}

/** JSON in which no character can write to a terminal. JSON.stringify leaves those above U+007F as they are. */
export function printableJson(value: unknown, indent: number): string {
  const text = JSON.stringify(value, undefined, indent);
  return text.replace(CONTROL, (character) => (character === "\n" ? character : escaped(character)));
}

/** Columns that a text takes on a terminal. */
export function widthOf(text: string): number {
  return stringWidth(text);
}

/** A text of at most `most` columns; a longer one ends in an ellipsis. */
export function cutTo(text: string, most: number): string {
  if (widthOf(text) <= most) return text;
  let cut = "";
  let width = 0;
  for (const { segment } of SEGMENTS.segment(text)) {
    width += widthOf(segment);
    if (width > most - 1) break;
    cut += segment;
  }
  return `${cut}…`;
}

const SEGMENTS = new Intl.Segmenter("en", { granularity: "grapheme" });

function escaped(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
}
