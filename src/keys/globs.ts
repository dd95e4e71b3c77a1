/*
 * Globs: of methods, where `*` stays within one segment between slashes and a final `/**` takes the rest, and of scopes,
 * where `*` stands for anything. Matching is linear in the text's length: no backtracking beyond the last star.
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

/** Whether a method matches. Case matters; a method that could be read in two ways never matches. */
export function matchesMethod(glob: string, method: string): boolean {
  if (method === "" || AMBIGUOUS.test(method)) return false;
  const parts = segmentsOf(method);
  if (parts.some((part) => ["", ".", ".."].includes(part.replace(PARAMETERS, "")))) return false;
  const wanted = segmentsOf(glob);
  if (glob.startsWith("/") !== method.startsWith("/")) return false;
  const rest = wanted.at(-1) === "**";
  if (rest ? parts.length < wanted.length : parts.length !== wanted.length) return false;
  const exact = rest ? wanted.length - 1 : wanted.length;
  for (let i = 0; i < exact; i++) if (!matchesStars(wanted[i]!, parts[i]!)) return false;
  return true;
}

/** Whether a scope matches a glob in which `*` stands for any run of characters. */
export function matchesScope(glob: string, scope: string): boolean {
  return matchesStars(glob, scope);
}

/** Segments behind one leading slash. */
function segmentsOf(path: string): string[] {
  return (path.startsWith("/") ? path.slice(1) : path).split("/");
}

/** Greedy, remembering only the last star: O(glob × text) at worst, O(text) for one star. */
function matchesStars(glob: string, text: string): boolean {
  let g = 0;
  let t = 0;
  let star = -1;
  let mark = 0;
  while (t < text.length) {
    if (glob[g] === "*") {
      star = g++;
      mark = t;
    } else if (g < glob.length && glob[g] === text[t]) {
      g++;
      t++;
    } else if (star >= 0) {
      g = star + 1;
      t = ++mark;
    } else return false;
  }
  while (glob[g] === "*") g++;
  return g === glob.length;
}
