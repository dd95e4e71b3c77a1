import { CHECKSUM_LENGTH, checksum62 } from "../lib/base62.ts";
import type { KeyKind } from "./key.ts";

/*
 * The raw key: `<prefix>_<environment>_<id:16><secret:43><crc:6>`, all base62 after the second underscore. The secret
 * has 43 characters, 256 bits from the CSPRNG. No attacker can guess it, so one HMAC protects it as well as a slow hash
 * would. The CRC gives no security: it detects typing errors and junk without I/O, and makes secret scanners exact.
 */

/** Characters of a key's id in its raw key. */
export const ID_LENGTH = 16;
/** Characters of its secret: 256 bits. */
export const SECRET_LENGTH = 43;
/** Maximum length of a raw key. Its first and second word have at most 16 characters each. */
export const MAX_KEY_LENGTH = 2 * (16 + 1) + ID_LENGTH + SECRET_LENGTH + CHECKSUM_LENGTH;
const FORM = /^([a-z][a-z0-9]{0,15})_([a-z][a-z0-9]{0,15})_([0-9A-Za-z]{16})[0-9A-Za-z]{49}$/;
/** The second word of service credentials. */
export const SERVICE_ENVIRONMENT = "svc";
/** Second words that no API key has: those of service credentials and of refresh tokens. */
export const RESERVED_ENVIRONMENTS: readonly string[] = [SERVICE_ENVIRONMENT, "ref"];

/** The configured parts of the form of raw keys. */
export interface KeyFormat {
  /** The first word, such as `kit`. */
  readonly prefix: string;
  /** The possible second words of API keys. */
  readonly environments: readonly string[];
}

/** The parts of a text that has the form of a raw key. They keep the text in memory. */
export interface KeyForm {
  readonly prefix: string;
  readonly environment: string;
  /** The characters of the id, without its kind. */
  readonly id: string;
}

/** The parts of a raw key's text, before anything is looked up. */
export interface ParsedKey {
  readonly kind: KeyKind;
  readonly environment: string;
  readonly keyId: string;
}

/**
 * Checks form and checksum, without I/O; undefined for a text that can't be a raw key, whatever prefix and environments
 * its service has.
 */
export function keyFormOf(text: string): KeyForm | undefined {
  if (text.length > MAX_KEY_LENGTH) return undefined;
  const [, prefix, environment, id] = FORM.exec(text) ?? [];
  if (prefix === undefined || environment === undefined || id === undefined) return undefined;
  if (text.slice(-CHECKSUM_LENGTH) !== checksum62(text.slice(0, -CHECKSUM_LENGTH))) return undefined;
  return { prefix, environment, id };
}

/** Checks form and checksum, without I/O; undefined for a text that can't be a key of this service. */
export function parseKey(format: KeyFormat, text: string): ParsedKey | undefined {
  const form = keyFormOf(text);
  if (form === undefined || form.prefix !== format.prefix) return undefined;
  const kind = kindOf(format, form.environment);
  return kind && { kind, environment: form.environment, keyId: keyIdOf(kind, form.id) };
}

function kindOf(format: KeyFormat, environment: string): KeyKind | undefined {
  if (environment === SERVICE_ENVIRONMENT) return "service";
  return format.environments.includes(environment) ? "api" : undefined;
}

/** The id of a key or of a credential with these characters. */
export function keyIdOf(kind: KeyKind, id: string): string {
  return `${kind === "service" ? "svc" : "key"}_${id}`;
}
