/**
 * A reader of the subjectAltName of a certificate (RFC 5280, 4.2.1.6), straight from its DER. The text form of Node and
 * OpenSSL joins names of several types by commas. A name that contains a comma and `URI:` once passed for two names
 * (CVE-2021-44532), so no text is split here.
 */
import { dnsName, uriName } from "../../lib/certificate-name.ts";

/** Maximum names of a certificate. Each of them is looked up. */
export const MAX_SUBJECT_NAMES = 32;

const SEQUENCE = 0x30;
const OBJECT_ID = 0x06;
const OCTETS = 0x04;
/** `[3]` of a TBSCertificate: its extensions. */
const EXTENSIONS = 0xa3;
/** 2.5.29.17 */
const SUBJECT_ALT_NAME = Buffer.from([0x55, 0x1d, 0x11]);
/** `[2]` and `[6]` of a GeneralName. */
const DNS_NAME = 0x82;
const URI = 0x86;
/** In a long form, the number of bytes that a length may have. OpenSSL reads at most 100 KiB of certificates. */
const MAX_LENGTH_BYTES = 3;

interface Element {
  readonly tag: number;
  readonly body: Buffer;
}

/**
 * The DNS names in lower case and the URIs, each once. Leaves out names of other types, and names in a form that no
 * list of a credential can have: wildcards, texts with NUL, and so on.
 *
 * @param der a certificate that OpenSSL has parsed
 * @returns undefined if there are more than MAX_SUBJECT_NAMES of these two types, or if the bytes are not DER
 */
export function subjectNames(der: Buffer): readonly string[] | undefined {
  try {
    return namesIn(der);
  } catch (error) {
    if (error instanceof NotDer) return undefined;
    throw error;
  }
}

function namesIn(der: Buffer): readonly string[] | undefined {
  const [certificate] = elementsOf(der);
  const [body] = elementsOf(bodyOf(certificate, SEQUENCE));
  const extensions = elementsOf(bodyOf(body, SEQUENCE)).find(({ tag }) => tag === EXTENSIONS);
  if (extensions === undefined) return [];
  const [list] = elementsOf(extensions.body);
  const found = elementsOf(bodyOf(list, SEQUENCE)).map((each) => elementsOf(bodyOf(each, SEQUENCE)));
  const alternatives = found.filter(([id]) => bodyOf(id, OBJECT_ID).equals(SUBJECT_ALT_NAME));
  if (alternatives.length === 0) return [];
  // A certificate must not have an extension twice (RFC 5280, 4.2), and nothing says which one would count.
  if (alternatives.length > 1) return undefined;
  const [names] = elementsOf(bodyOf(alternatives[0]!.at(-1), OCTETS));
  const candidates = elementsOf(bodyOf(names, SEQUENCE)).filter(({ tag }) => tag === DNS_NAME || tag === URI);
  if (candidates.length > MAX_SUBJECT_NAMES) return undefined;
  const known = candidates.map(({ tag, body: text }) => {
    const latin1 = text.toString("latin1");
    return tag === URI ? uriName(latin1) : dnsName(latin1);
  });
  return [...new Set(known.filter((name) => name !== undefined))];
}

class NotDer extends Error {}

function bodyOf(element: Element | undefined, tag: number): Buffer {
  if (element?.tag !== tag) throw new NotDer();
  return element.body;
}

/** The elements that follow each other in these bytes. @throws NotDer */
function elementsOf(bytes: Buffer): Element[] {
  const elements: Element[] = [];
  for (let at = 0; at < bytes.length; ) {
    const first = bytes[at + 1];
    if (first === undefined) throw new NotDer();
    const lengthBytes = first < 0x80 ? 0 : first - 0x80;
    const from = at + 2 + lengthBytes;
    // 0x80 is the indefinite length, which DER does not have.
    if (first === 0x80 || lengthBytes > MAX_LENGTH_BYTES || from > bytes.length) throw new NotDer();
    const length = lengthBytes === 0 ? first : bytes.readUIntBE(at + 2, lengthBytes);
    if (from + length > bytes.length) throw new NotDer();
    elements.push({ tag: bytes[at]!, body: bytes.subarray(from, from + length) });
    at = from + length;
  }
  return elements;
}
