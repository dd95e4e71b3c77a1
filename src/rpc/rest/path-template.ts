/** A path template of google.api.http, such as `/v1/keys/{key_id}:rotate`. */
export interface PathTemplate {
  /** As it stands in the contract. */
  readonly text: string;
  readonly segments: readonly TemplateSegment[];
  /** The text after the last colon; undefined without a colon. */
  readonly verb: string | undefined;
}

/** A segment of a template: a text that must be the same, or the path of the field that takes the segment's value. */
export type TemplateSegment = { readonly literal: string } | { readonly variable: string };

const TEMPLATE = /^((?:\/(?:[a-z0-9-]+|\{[a-z0-9_.]+\}))+)(?::([a-zA-Z]+))?$/;

/**
 * Parses a template. Of the grammar in google/api/http.proto it knows the parts that the contract uses: literals,
 * variables of one segment, and a verb. Wildcards would let one path match two templates.
 *
 * @throws {Error} for anything else
 */
export function parseTemplate(text: string): PathTemplate {
  const match = TEMPLATE.exec(text);
  if (match === null) throw new Error(`${text} is not a path of literals, {variables} and one :verb`);
  const segments = match[1]!
    .slice(1)
    .split("/")
    .map((segment) => (segment.startsWith("{") ? { variable: segment.slice(1, -1) } : { literal: segment }));
  return { text, segments, verb: match[2] };
}
