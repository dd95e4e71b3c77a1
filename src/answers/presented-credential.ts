/** The credential that a request presents. */
export type Presented =
  | { readonly kind: "none" }
  | { readonly kind: "one"; readonly text: string }
  /** More than one, and it is not known which of them the caller means. */
  | { readonly kind: "ambiguous" };

/**
 * All values of a header, in the order in which they came; empty if there is none. Where a server has joined repeated
 * headers to one value with commas, that value. Names are in lower case.
 */
export type HeaderValues = (name: string) => readonly string[];

const NONE: Presented = Object.freeze({ kind: "none" });
const AMBIGUOUS: Presented = Object.freeze({ kind: "ambiguous" });
const BEARER = /^bearer +(\S.*)$/i;

/**
 * The API key of a request: from `X-API-Key` or from `Authorization: Bearer`. Both may have it if the text is the same.
 * Never from the URL, because URLs are logged.
 */
export function presentedKey(values: HeaderValues): Presented {
  const bearer = presentedToken(values);
  const own = onlyValue(values("x-api-key"));
  if (own.kind === "none" || bearer.kind === "ambiguous") return bearer;
  if (own.kind === "ambiguous" || bearer.kind === "none") return own;
  return own.text === bearer.text ? own : AMBIGUOUS;
}

/** The access token of a request: from `Authorization: Bearer`. Another scheme is not ours to judge. */
export function presentedToken(values: HeaderValues): Presented {
  const value = onlyValue(values("authorization"));
  if (value.kind !== "one") return value;
  const [, text] = BEARER.exec(value.text) ?? [];
  return text === undefined ? NONE : { kind: "one", text };
}

/** Neither keys nor tokens have a comma, so a value with one is joined from several. */
function onlyValue(values: readonly string[]): Presented {
  const present = values.map((value) => value.trim()).filter((value) => value !== "");
  const [text] = present;
  if (text === undefined) return NONE;
  return present.length > 1 || text.includes(",") ? AMBIGUOUS : { kind: "one", text };
}
