import { isIP } from "node:net";

const MAX_METHOD_LENGTH = 1024;
const VISIBLE = /^[\x20-\x7e]+$/;

/**
 * The method of an HTTP request: `GET /orders/7`, without query and fragment, escapes as they came.
 *
 * @param target as on the request line, or a whole URL
 * @returns undefined for a path that no rule about methods can match: too long, or not printable ASCII
 */
export function httpMethod(verb: string, target: string): string | undefined {
  const [, path = ""] = /^(?:[a-z][a-z0-9+.-]*:\/\/[^/?#]*)?([^?#]*)/i.exec(target) ?? [];
  const method = `${verb} ${path === "" ? "/" : path}`;
  return method.length <= MAX_METHOD_LENGTH && VISIBLE.test(method) ? method : undefined;
}

/**
 * The address of a request's sender, as keys' allow-lists are judged by it. A zone (`%eth0`, RFC 4007) is cut off.
 *
 * @returns undefined if the text is no address, such as the peer of a Unix socket
 */
export function clientAddress(text: string | undefined): string | undefined {
  const [address = ""] = (text ?? "").split("%");
  return isIP(address) === 0 ? undefined : address;
}

/** The address in `192.0.2.1:443` or `[2001:db8::1]:443`; an address without a port stays as it is. */
export function withoutPort(peer: string): string {
  const [, bracketed, plain] = /^(?:\[([^\]]+)\](?::\d+)?|([^:]+):\d+)$/.exec(peer) ?? [];
  return bracketed ?? plain ?? peer;
}
