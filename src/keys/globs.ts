/*
 * Globs of methods and of scopes. In a glob of methods, `*` stays within one segment between slashes, and a final `/**`
 * matches the rest. In a glob of scopes, `*` matches anything. Matching takes time linear in the lengths of glob and
 * text, because both come from people who may try to make it slow.
 *
 * A method is a path that another server reads too. Servers differ in what they decode, cut off or normalise. So a
 * method matches only if it matches both as it is written and with its escapes decoded. The verb of an HTTP request may
 * stand before its path: `GET /orders`.
 */

/** The verb before a path, as a glob and a method may have it. A glob without one matches every verb. */
const VERB = /^([A-Z]{1,16}) (?=\/)/;
const GLOB = /^[\x21-\x7e]{1,256}$/;
/**
 * Characters that every server reads in the same way: `pchar` of RFC 3986 (3.3) and the slash. `;` is excluded, because
 * some servers cut a segment off there. A percent sign may only begin an escape.
 */
const PATH = /^[A-Za-z0-9\-._~!$&'()*+,=:@/%]+$/;
/** Escapes of printable ASCII, except those of characters that structure a path or begin another escape. */
const ESCAPE = /%(?:2[01246-9a-d]|3[0-9ac-e]|[46][0-9a-f]|5[0-9abd-f]|7[0-9a-e])/gi;
const AMBIGUOUS_EXAMPLES = "such as ; ? # \\, and any escape of those, of / . % or of what is not printable ASCII";
/** Empty, or only dots: servers remove such a segment, perhaps together with its neighbour (RFC 3986, 5.2.4). */
const REMOVED_SEGMENT = /^\.*$/;

/** The fault of a glob of methods, or undefined. A glob that can't match any method counts as a mistake. */
export function methodGlobFault(globWithVerb: string): string | undefined {
  const glob = globWithVerb.replace(VERB, "");
  if (!GLOB.test(glob)) return "must be 1 to 256 visible ASCII characters";
  const segments = glob.split("/");
  const endsInRest = segments.length > 1 && segments.at(-1) === "**";
  const plain = segments.slice(glob.startsWith("/") ? 1 : 0, endsInRest ? -1 : undefined);
  if (plain.some((segment) => segment.includes("**"))) return "may have `**` only as its last segment";
  if (!isUnambiguous(glob)) return `can never match: servers read some of it in different ways (${AMBIGUOUS_EXAMPLES})`;
  if (plain.some(isRemoved)) return "can never match: has a segment that is empty, only dots, or begins or ends in %20";
  return undefined;
}

/**
 * Whether a method matches one of the globs. Case matters. A method that servers may read in several ways never
 * matches.
 */
export function matchesMethod(globs: readonly string[], methodWithVerb: string): boolean {
  const verb = VERB.exec(methodWithVerb)?.[1];
  const method = methodWithVerb.replace(VERB, "");
  if (!isUnambiguous(method)) return false;
  const segments = (method.startsWith("/") ? method.slice(1) : method).split("/");
  if (segments.some(isRemoved)) return false;
  const decoded = method.includes("%") ? segments.map(decodeEscapes) : undefined;
  const isRooted = method.startsWith("/");
  return globs.some((globWithVerb) => {
    const glob = ofVerb(globWithVerb, verb);
    return (
      glob !== undefined &&
      glob.startsWith("/") === isRooted &&
      matchesSegments(glob, segments) &&
      (decoded === undefined || matchesSegments(decodeEscapes(glob), decoded))
    );
  });
}

/** The glob without its verb; undefined if it is for another verb. */
function ofVerb(glob: string, verb: string | undefined): string | undefined {
  const wanted = VERB.exec(glob)?.[1];
  if (wanted === undefined) return glob;
  return wanted === verb ? glob.replace(VERB, "") : undefined;
}

/** Whether a scope matches one of the globs, in which `*` stands for any characters. */
export function matchesScope(globs: readonly string[], scope: string): boolean {
  return globs.some((glob) => matchesText(glob, scope));
}

/** Whether a path has only plain characters, and escapes of characters without a meaning for the path. */
function isUnambiguous(path: string): boolean {
  return PATH.test(path) && !(path.includes("%") && path.replace(ESCAPE, "").includes("%"));
}

/** Whether servers may remove the segment. Includes a decoded space at either end, because some servers trim it. */
function isRemoved(segment: string): boolean {
  return REMOVED_SEGMENT.test(segment) || (segment.includes("%20") && / $|^ /.test(decodeEscapes(segment)));
}

function decodeEscapes(path: string): string {
  return path.replace(ESCAPE, decodeURIComponent);
}

function matchesSegments(glob: string, segments: readonly string[]): boolean {
  let from = glob.startsWith("/") ? 1 : 0;
  for (const [at, segment] of segments.entries()) {
    const slash = glob.indexOf("/", from);
    const wanted = slash < 0 ? glob.slice(from) : glob.slice(from, slash);
    if (slash < 0 && wanted === "**") return true;
    if (!matchesText(wanted, segment)) return false;
    if (slash < 0) return at === segments.length - 1;
    from = slash + 1;
  }
  return false;
}

/**
 * Anchors the parts before the first star and after the last one, then matches the pieces between them greedily from
 * the left.
 */
function matchesText(glob: string, text: string): boolean {
  const firstStar = glob.indexOf("*");
  if (firstStar < 0) return glob === text;
  const lastStar = glob.lastIndexOf("*");
  const end = text.length - (glob.length - lastStar - 1);
  if (end < firstStar || !text.startsWith(glob.slice(0, firstStar)) || !text.endsWith(glob.slice(lastStar + 1))) {
    return false;
  }
  let at = firstStar;
  for (let star = firstStar; star < lastStar; ) {
    const next = glob.indexOf("*", star + 1);
    at = endOf(glob.slice(star + 1, next), text, at, end);
    if (at < 0) return false;
    star = next;
  }
  return true;
}

/** Table of `endOf`. No piece is longer: a glob of methods has at most 256 characters, a glob of scopes 128. */
const borders = new Uint8Array(256);

/**
 * The end of the first occurrence of a piece between `from` and `end`; -1 if there is none. Uses the algorithm of
 * Knuth, Morris and Pratt, because for malicious texts String.indexOf takes time proportional to the product of both
 * lengths.
 */
function endOf(piece: string, text: string, from: number, end: number): number {
  const { length } = piece;
  for (let at = 1, border = 0; at < length; at++) {
    const code = piece.charCodeAt(at);
    while (border > 0 && code !== piece.charCodeAt(border)) border = borders[border - 1]!;
    if (code === piece.charCodeAt(border)) border++;
    borders[at] = border;
  }
  let matched = 0;
  for (let at = from; matched < length; at++) {
    // The rest of the text is too short.
    if (length - matched > end - at) return -1;
    const code = text.charCodeAt(at);
    while (matched > 0 && code !== piece.charCodeAt(matched)) matched = borders[matched - 1]!;
    if (code === piece.charCodeAt(matched)) matched++;
    if (matched === length) return at + 1;
  }
  return from;
}
