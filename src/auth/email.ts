import { domainToASCII } from "node:url";
import { invalidField } from "../lib/errors.ts";

/** RFC 5321, 4.5.3.1: a path has at most 256 octets with its brackets, a local part at most 64. */
const MAX_BYTES = 254;
const MAX_LOCAL_BYTES = 64;
const MAX_DOMAIN_BYTES = 253;

export interface EmailAddress {
  /** As it was given, except that a domain with non-ASCII characters is in its ASCII form. */
  readonly address: string;
  /** The same for all addresses of one account: local part in NFC, ASCII letters in lower case, ASCII domain. */
  readonly normalized: string;
  /** `normalized` without NFC. */
  readonly typed: string;
}

/**
 * Reads an e-mail address as a person typed it, to find an account by it.
 *
 * Addresses are compared in NFC, because devices differ in how they compose letters (RFC 6532, 3.1; RFC 8265, 3.3.2).
 * Beyond that only the case of ASCII letters is folded. Unicode's case mapping and compatibility forms would merge
 * addresses of different people: `mıke` (dotless) upper-cases to `MIKE`.
 *
 * @returns undefined for a text that is not an address. Quoted local parts, comments, address literals and domains of
 *   one label are not accepted, although RFC 5321 allows them
 */
export function parseEmail(text: string): EmailAddress | undefined {
  // Checked before normalisation, which takes quadratic time for long runs of combining marks.
  if (text.length > MAX_BYTES || Buffer.byteLength(text) > MAX_BYTES || !text.isWellFormed()) return undefined;
  if (SPACE_OR_CONTROL.test(text)) return undefined;
  const [local, domain, ...more] = text.split("@");
  if (local === undefined || domain === undefined || more.length > 0) return undefined;
  if (!LOCAL_PART.test(local) || Buffer.byteLength(local) > MAX_LOCAL_BYTES) return undefined;
  const asciiDomain = parseDomain(domain);
  if (asciiDomain === undefined) return undefined;
  const address = `${local}@${isAscii(domain) ? domain : asciiDomain}`;
  if (Buffer.byteLength(address) > MAX_BYTES) return undefined;
  const normalized = `${asciiLowerCase(local.normalize("NFC"))}@${asciiDomain}`;
  return Object.freeze({ address, normalized, typed: `${asciiLowerCase(local)}@${asciiDomain}` });
}

/**
 * Reads an e-mail address for a new account. Unlike parseEmail it refuses invisible characters, so that no account
 * looks like another one. Accounts that are older than this rule can still log in.
 */
export function parseNewEmail(text: string): EmailAddress | undefined {
  const email = parseEmail(text);
  if (email === undefined || INVISIBLE.test(text)) return undefined;
  // Some characters become ASCII in NFC: the Greek question mark becomes a semicolon.
  return LOCAL_PART.test(email.normalized.slice(0, email.normalized.indexOf("@"))) ? email : undefined;
}

/** Reads an e-mail address by `parse`. @throws INVALID_FIELD if the text is not an address */
export function requireEmail(field: string, text: string, parse = parseEmail): EmailAddress {
  const email = parse(text);
  if (email === undefined) throw invalidField(field, EMAIL_RULE);
  return email;
}

export const EMAIL_RULE =
  "must be an e-mail address such as ann@example.com, of at most 254 bytes, with one @, without spaces or invisible characters";

/** Separators, controls, formats (such as zero-width characters), surrogates and private use. */
const SPACE_OR_CONTROL = /[\p{Z}\p{Cc}\p{Cf}\p{Cs}\p{Co}]/u;
/**
 * Further invisible characters: variation selectors, fillers, joiners and others that fonts don't show (Unicode's
 * Default_Ignorable_Code_Point), the blank of Braille, and noncharacter code points.
 */
const INVISIBLE = /[\p{Default_Ignorable_Code_Point}\p{Noncharacter_Code_Point}\u2800]/u;
/** Dot-atom (RFC 5322, 3.2.3), with non-ASCII letters (RFC 6531, 3.3). */
const LOCAL_PART = /^[\w!#$%&'*+/=?^`{|}~\-\u0080-\u{10ffff}]+(\.[\w!#$%&'*+/=?^`{|}~\-\u0080-\u{10ffff}]+)*$/u;
/** Checked before conversion, because domainToASCII decodes percent escapes and turns `0x7f.1` into an IP address. */
const DOMAIN_AS_GIVEN = /^[A-Za-z0-9.\-\u0080-\u{10ffff}]+$/u;
/** At least two labels (RFC 1035, 2.3.1). The last one has a letter, so that no IPv4 address matches. */
const DOMAIN = /^(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+(?=[a-z0-9-]*[a-z])[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;

function parseDomain(domain: string): string | undefined {
  if (!DOMAIN_AS_GIVEN.test(domain)) return undefined;
  const ascii = isAscii(domain) ? domain.toLowerCase() : domainToASCII(domain);
  return ascii.length <= MAX_DOMAIN_BYTES && DOMAIN.test(ascii) ? ascii : undefined;
}

function isAscii(text: string): boolean {
  return /^[\x20-\x7e]*$/.test(text);
}

function asciiLowerCase(text: string): string {
  return text.replace(/[A-Z]/g, (letter) => letter.toLowerCase());
}
