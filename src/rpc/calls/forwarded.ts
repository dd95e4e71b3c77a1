import { SocketAddress } from "node:net";
import { familyOf, normalizeIp } from "../../lib/ip.ts";

/** The headers in which proxies name the sender of a request: the usual one, and the one of RFC 7239. */
export const FORWARDED_HEADERS = ["x-forwarded-for", "forwarded"] as const;
export type ForwardedHeader = (typeof FORWARDED_HEADERS)[number];

/** An optional port. A proxy that hides the port writes `_` and a name instead (RFC 7239, 6.3). */
const PORT = "(?::(?:\\d{1,5}|_[A-Za-z0-9._-]+))?";
const IPV4_NODE = new RegExp(`^(\\d{1,3}(?:\\.\\d{1,3}){3})${PORT}$`);
const IPV6_NODE = new RegExp(`^\\[([0-9A-Fa-f:.]+)\\]${PORT}$`);
/**
 * One parameter of an element, or none. Proxies also write brackets and colons without quotes. Blanks match in one
 * place only, so the time is linear in the length of the header.
 */
const PARAMETER = /[ \t]*(?:([!#$%&'*+.^_`|~0-9A-Za-z-]+)=("(?:[^"\\]|\\.)*"|[^\s",;]+)[ \t]*)?(?:;|$)/y;

/**
 * The addresses that a header names, the latest hop first. A hop without an address (hidden, unknown or malformed) is
 * undefined. The header is read from the right, so the client's text to the left of a proxy's hop can't change how that
 * hop is read.
 *
 * @param values the header's lines, in order
 */
export function* hopsOf(header: ForwardedHeader, values: readonly string[]): Generator<string | undefined> {
  for (const value of values.toReversed()) {
    for (const element of elementsFromRight(value)) {
      const node = header === "forwarded" ? forParameter(element) : element.trim();
      yield node === undefined ? undefined : addressOfNode(unquoted(node));
    }
  }
}

/**
 * The address of a node; undefined if it is malformed. The node may have a port. IPv6 is in brackets, or stands alone
 * without a port.
 */
function addressOfNode(node: string): string | undefined {
  const [, inner = node] = IPV4_NODE.exec(node) ?? IPV6_NODE.exec(node) ?? [];
  if (inner !== node && node.startsWith("[") !== inner.includes(":")) return undefined;
  const address = normalizeIp(inner);
  if (address === undefined || familyOf(address) === "ipv4") return address;
  // An IPv6 address has several spellings; this returns one for all of them.
  return new SocketAddress({ address, family: "ipv6" }).address;
}

/** The elements of a comma-separated list, the last one first. A comma in quotes does not separate. */
function* elementsFromRight(value: string): Generator<string> {
  let end = value.length;
  let isQuoted = false;
  for (let at = end - 1; at >= 0; at--) {
    if (value[at] === '"' && !isEscaped(value, at)) isQuoted = !isQuoted;
    if (value[at] !== "," || isQuoted) continue;
    yield value.slice(at + 1, end);
    end = at;
  }
  yield value.slice(0, end);
}

function isEscaped(value: string, at: number): boolean {
  let backslashes = 0;
  while (value[at - 1 - backslashes] === "\\") backslashes++;
  return backslashes % 2 === 1;
}

/**
 * The value of an element's `for` parameter; undefined if there is none or more than one, or if the element is
 * malformed (RFC 7239, 4).
 */
function forParameter(element: string): string | undefined {
  let found: string | undefined;
  for (let at = 0; at < element.length; at = PARAMETER.lastIndex) {
    PARAMETER.lastIndex = at;
    const match = PARAMETER.exec(element);
    if (match === null) return undefined;
    if (match[1]?.toLowerCase() !== "for") continue;
    if (found !== undefined) return undefined;
    found = match[2];
  }
  return found;
}

function unquoted(text: string): string {
  return /^"(.*)"$/s.test(text) ? text.slice(1, -1).replace(/\\(.)/gs, "$1") : text;
}
