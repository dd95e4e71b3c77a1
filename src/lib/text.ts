import type { Violation } from "./errors.ts";

export interface TextRule {
  /** Smallest and largest length in Unicode code points. */
  readonly min: number;
  readonly max: number;
  /** Whether line feeds and tabs may occur. Default: no. */
  readonly multiline?: boolean;
}

// PostgreSQL can't store NUL, and lone surrogates have no UTF-8 form. The other control characters, including those of
// direction and width, only mislead a reader. Joiners are allowed, because some scripts and emoji need them.
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what this looks for
const CONTROL = /[\u0000-\u001f\u007f-\u009f\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]/;
// biome-ignore lint/suspicious/noControlCharactersInRegex: as above, without tab and line feed
const MULTILINE_CONTROL = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]/;

/** The fault of a text field, or undefined. Every free text of a request is checked here. */
export function textViolation(field: string, text: string, rule: TextRule): Violation | undefined {
  if (text.length > 2 * rule.max) return tooLong(field, rule);
  if (!text.isWellFormed()) return { field, description: "must be well-formed Unicode" };
  if ((rule.multiline ? MULTILINE_CONTROL : CONTROL).test(text)) {
    return { field, description: "must not contain control characters" };
  }
  const length = codePoints(text);
  if (length > rule.max) return tooLong(field, rule);
  if (length < rule.min) {
    return { field, description: rule.min === 1 ? "must not be empty" : `must have at least ${rule.min} characters` };
  }
  return undefined;
}

/** Length in code points: the characters that a person would count, except for combining marks. */
export function codePoints(text: string): number {
  let count = 0;
  for (const _ of text) count++;
  return count;
}

function tooLong(field: string, rule: TextRule): Violation {
  return { field, description: `must have at most ${rule.max} characters` };
}

/** Copies a text, because a V8 substring keeps its whole parent in memory, such as a raw key. */
export function ownText(text: string): string {
  return Buffer.from(text).toString();
}
