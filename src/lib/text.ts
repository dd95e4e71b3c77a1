import type { Violation } from "./errors.ts";

export interface TextRule {
  /** Smallest and largest length in Unicode code points. */
  readonly min: number;
  readonly max: number;
  /** Whether line feeds and tabs may occur. Default: no. */
  readonly multiline?: boolean;
}

// PostgreSQL can't store NUL, lone surrogates have no UTF-8 form, and the other controls (of direction and width too, but
// for the joiners that some scripts and emoji need) only mislead whoever reads.
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what this looks for
const CONTROL = /[\u0000-\u001f\u007f-\u009f\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]/;
// biome-ignore lint/suspicious/noControlCharactersInRegex: as above, without tab and line feed
const CONTROL_BUT_LINES = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]/;

/** What is wrong with a text field, or undefined. Every free text of a request goes through here. */
export function textViolation(field: string, text: string, rule: TextRule): Violation | undefined {
  if (text.length > 2 * rule.max) return tooLong(field, rule);
  if (!text.isWellFormed()) return { field, description: "must be well-formed Unicode" };
  if ((rule.multiline ? CONTROL_BUT_LINES : CONTROL).test(text)) {
    return { field, description: "must not contain control characters" };
  }
  const length = codePoints(text);
  if (length > rule.max) return tooLong(field, rule);
  if (length < rule.min) {
    return { field, description: rule.min === 1 ? "must not be empty" : `must have at least ${rule.min} characters` };
  }
  return undefined;
}

/** Length in code points: what a person would count, but for combining marks. */
export function codePoints(text: string): number {
  let count = 0;
  for (const _ of text) count++;
  return count;
}

function tooLong(field: string, rule: TextRule): Violation {
  return { field, description: `must have at most ${rule.max} characters` };
}

/** The same characters in a text of their own: one that was cut from a longer text, such as a raw key, keeps all of that. */
export function ownText(text: string): string {
  return Buffer.from(text).toString();
}
