import { SocketAddress } from "node:net";
import { familyOf, normalizeIp } from "../../lib/ip.ts";

/** Headers by which proxies say from whom a request came: the usual one, and that of RFC 7239. */
export const FORWARDED_HEADERS = ["x-forwarded-for", "forwarded"] as const;
export type ForwardedHeader = (typeof FORWARDED_HEADERS)[number];

/** `_` and a name stand for a port that a proxy hides (RFC 7239, 6.3). */
const PORT = "(?::(?:\\d{1,5}|_[A-Za-z0-9._-]+))?";
const IPV4_NODE = new RegExp(`^(\\d{1,3}(?:\\.\\d{1,3}){3})${PORT}$`);
const IPV6_NODE = new RegExp(`^\\[([0-9A-Fa-f:.]+)\\]${PORT}$`);
/** One parameter of an element, or none. Proxies also write brackets and colons without quotes. */
const PARAMETER = /[ \t]*(?:([!#$%&'*+.^_`|~0-9A-Za-z-]+)=("(?:[^"\\]|\\.)*"|[^\s",;]+))?[ \t]*(?:;|$)/y;

/**
 * The addresses that a header names, the latest hop first; undefined for a hop without one (hidden, unknown,
 * malformed). Each is read from the right, so that nothing that a client sent ahead of it changes how a proxy's own hop
 * is read.
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

/** With or without a port; IPv6 in brackets, or alone. */
function addressOfNode(node: string): string | undefined {
  const [, inner = node] = IPV4_NODE.exec(node) ?? IPV6_NODE.exec(node) ?? [];
  if (inner !== node && node.startsWith("[") !== inner.includes(":")) return undefined;
  const address = normalizeIp(inner);
  if (address === undefined || familyOf(address) === "ipv4") return address;
  // One spelling for all that mean the same.
  return new SocketAddress({ address, family: "ipv6" }).address;
}

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

/** The one `for` of an element; undefined where there is none, or more, or anything malformed (RFC 7239, 4). */
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
