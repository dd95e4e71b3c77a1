/** The forms of the names by which a client certificate stands for a service credential. */

/** Maximum bytes of a name. A DNS name has at most 253 (RFC 1035, 2.3.4). */
export const MAX_CERTIFICATE_NAME_BYTES = 255;

const MAX_DNS_BYTES = 253;
const ASCII = /^[\x21-\x7e]+$/;
/** Labels of a host name (RFC 1123, 2.1), with the underscore that names of containers have. */
const DNS_NAME = /^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*$/;
/** A last label of digits alone makes an IPv4 address of the name (RFC 1123, 2.1). */
const ENDS_IN_DIGITS = /(^|\.)[0-9]+$/;
/** A URI with an authority (RFC 3986, 3): scheme and host in lower case, then a path. SPIFFE IDs have this form. */
const URI_NAME = /^[a-z][a-z0-9+.-]*:\/\/[a-z0-9._-]+(\/[a-zA-Z0-9._~!$&'()*+,;=:@%/-]*)?$/;

/**
 * The DNS name in lower case, by which names are compared (RFC 4343); undefined for any other text. Wildcards, IP
 * addresses, names with a dot at the end, and names that are not ASCII are none.
 */
export function dnsName(text: string): string | undefined {
  if (text.length > MAX_DNS_BYTES) return undefined;
  // `toLowerCase` makes an ASCII letter of the Kelvin sign, so the text must be ASCII before.
  const name = ASCII.test(text) ? text.toLowerCase() : "";
  return DNS_NAME.test(name) && !ENDS_IN_DIGITS.test(name) ? name : undefined;
}

/** The URI as it is, because URIs are compared byte by byte; undefined for any other text. */
export function uriName(text: string): string | undefined {
  return text.length <= MAX_CERTIFICATE_NAME_BYTES && URI_NAME.test(text) ? text : undefined;
}

/** The name in the form by which it is compared. A URI has a colon and a DNS name has none, so neither is the other. */
export function certificateName(text: string): string | undefined {
  return text.includes(":") ? uriName(text) : dnsName(text);
}
