/*
 * Globs of methods and of scopes. In a glob of methods `*` stays within one segment between slashes, and a final `/**`
 * takes the rest; in a glob of scopes `*` stands for anything. Matching is linear in the lengths of glob and text,
 * because both come from people who may try to be slow.
 *
 * A method is a path that another server reads too, and servers differ in what they decode, cut off or normalise. So a
 * method matches only if every reading of it matches: as it is written, and with its escapes decoded.
 */

const GLOB = /^[\x21-\x7e]{1,256}$/;
/**
 * What no server reads as anything else: `pchar` of RFC 3986 (3.3) without `;`, because some servers cut a segment off
 * there, and the slash. A percent sign may only begin an escape.
 */
const PATH = /^[A-Za-z0-9\-._~!$&'()*+,=:@/%]+$/;
/** Escapes of printable ASCII, except those of a character that gives a path its form or is decoded once more. */
const ESCAPE = /%(?:2[01246-9a-d]|3[0-9ac-e]|[46][0-9a-f]|5[0-9abd-f]|7[0-9a-e])/gi;
const AMBIGUOUS_EXAMPLES = "such as ; ? # \\, and any escape of those, of / . % or of what is not printable ASCII";
/** Empty, or only dots: a server removes such a segment, perhaps with its neighbour (RFC 3986, 5.2.4). */
const REMOVED_SEGMENT = /^\.*$/;

/** What is wrong with a glob of methods, or undefined. A glob that no method can match is a mistake of its author. */
export function methodGlobFault(glob: string): string | undefined {
  if (!GLOB.test(glob)) return "must be 1 to 256 visible ASCII characters";
  const segments = glob.split("/");
  const endsInRest = segments.length > 1 && segments.at(-1) === "**";
  const plain = segments.slice(glob.startsWith("/") ? 1 : 0, endsInRest ? -1 : undefined);
  if (plain.some((segment) => segment.includes("**"))) return "may have `**` only as its last segment";
  if (!isUnambiguous(glob)) return `can never match: servers read some of it in different ways (${AMBIGUOUS_EXAMPLES})`;
  if (plain.some(isRemoved)) return "can never match: has a segment that is empty, only dots, or begins or ends in %20";
  return undefined;
}

/** Whether a method matches one of the globs. Case matters. A method that servers may read in other ways never matches. */
export function matchesMethod(globs: readonly string[], method: string): boolean {
  if (!isUnambiguous(method)) return false;
  const segments = (method.startsWith("/") ? method.slice(1) : method).split("/");
  if (segments.some(isRemoved)) return false;
  const decoded = method.includes("%") ? segments.map(decodeEscapes) : undefined;
  const isRooted = method.startsWith("/");
  return globs.some(
    (glob) =>
      glob.startsWith("/") === isRooted &&
      matchesSegments(glob, segments) &&
      (decoded === undefined || matchesSegments(decodeEscapes(glob), decoded)),
  );
}

/** Whether a scope matches a glob in which `*` stands for any run of characters. */
export function matchesScope(glob: string, scope: string): boolean {
  return matchesText(glob, scope);
}

/** Whether all of it is plain characters of a path and escapes that stand for nothing but themselves. */
function isUnambiguous(path: string): boolean {
  return PATH.test(path) && !(path.includes("%") && path.replace(ESCAPE, "").includes("%"));
}

/** Also one with a space at its edge once it is decoded, because some servers trim it. */
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

/** The parts before the first star and behind the last have their places; of others the first place is as good as any. */
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

/** For endOf. No piece is longer: a glob of methods has 256 characters at most, one of scopes 128. */
const borders = new Uint8Array(256);

/**
 * Where a piece that begins at `from` or later ends for the first time, at `end` or before; -1 for nowhere. By Knuth,
 * Morris and Pratt, since String.indexOf takes as long as the product of both lengths for what is made to be slow.
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
    // What is left is too short.
    if (length - matched > end - at) return -1;
    const code = text.charCodeAt(at);
    while (matched > 0 && code !== piece.charCodeAt(matched)) matched = borders[matched - 1]!;
    if (code === piece.charCodeAt(matched)) matched++;
    if (matched === length) return at + 1;
  }
  return from;
}
