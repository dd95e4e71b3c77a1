/*
 * Globs: of methods, where `*` stays within one segment between slashes and a final `/**` takes the rest, and of scopes,
 * where `*` stands for anything. Matching takes as long as glob and text are, whatever their owners put into them: both come
 * from people who may mean to be slow.
 */

const GLOB = /^[\x21-\x7e]{1,256}$/;
/** What another party may read as a slash, a dot or an end (RFC 3986 2.1 and 5.2.4), also after decoding twice. */
const AMBIGUOUS = /%2f|%2e|%5c|%25|%00|\\|[^\x21-\x7e]/i;
/** A segment without the parameters that some servers cut off behind a semicolon. */
const PARAMETERS = /;.*$/;

/** What is wrong with a glob of methods, or undefined. */
export function methodGlobFault(glob: string): string | undefined {
  if (!GLOB.test(glob)) return "must be 1 to 256 visible ASCII characters";
  const segments = glob.split("/");
  const endsInRest = segments.length > 1 && segments.at(-1) === "**";
  const plain = endsInRest ? segments.slice(0, -1) : segments;
  return plain.some((segment) => segment.includes("**")) ? "may have `**` only as its last segment" : undefined;
}

/** Whether a method matches one of the globs. Case matters; a method that could be read in two ways never matches. */
export function matchesMethod(globs: readonly string[], method: string): boolean {
  const segments = segmentsOf(method);
  if (segments === undefined) return false;
  const isRooted = method.startsWith("/");
  return globs.some((glob) => glob.startsWith("/") === isRooted && matchesSegments(glob, segments));
}

/** Whether a scope matches a glob in which `*` stands for any run of characters. */
export function matchesScope(glob: string, scope: string): boolean {
  return matchesText(glob, scope);
}

/** The segments of a method, behind one leading slash; undefined where others may read others. */
function segmentsOf(method: string): readonly string[] | undefined {
  if (method === "" || AMBIGUOUS.test(method)) return undefined;
  const segments = (method.startsWith("/") ? method.slice(1) : method).split("/");
  return segments.some((segment) => ["", ".", ".."].includes(segment.replace(PARAMETERS, ""))) ? undefined : segments;
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
