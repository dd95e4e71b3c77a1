/**
 * Values that production refuses: secrets that are published or not random, the issuer that every installation has by
 * default, and weak password hashes. Each fault is one line, which never repeats a value.
 */

import type { MasterKey } from "../lib/key-ring.ts";
import { DEFAULT_ISSUER } from "./settings-of-accounts.ts";

/**
 * Minimum number of different bytes in a master key. 32 random bytes have about 30, and fewer than 16 once in 10^10
 * draws.
 */
const LEAST_DIFFERENT_BYTES = 16;

/** OWASP Password Storage Cheat Sheet: argon2id with at least 19 MiB and two passes. */
const ARGON2_FLOOR = { memoryKib: 19_456, passes: 2 };

/**
 * Passwords from this project's docker-compose.yml, from images of PostgreSQL and Redis, and from their documentation.
 * The list stops a start for which no password was chosen. It does not judge the strength of passwords.
 */
const PUBLISHED_PASSWORDS = new Set(
  (
    "development latchkey postgres postgresql redis foobared mysecretpassword mypassword password passw0rd secret " +
    "changeme change-me change_me example default admin root test"
  ).split(" "),
);

/** A line for each master key that is a passphrase, a pattern or a placeholder. */
export function masterKeyFaults({ masterKeys }: { readonly masterKeys?: readonly MasterKey[] | undefined }): string[] {
  return (masterKeys ?? []).flatMap(({ version, bytes }) => {
    const flaw = flawOf(bytes);
    if (flaw === undefined) return [];
    return [`LATCHKEY_MASTER_KEYS: version ${version} is ${flaw}; make one with: openssl rand -base64 32`];
  });
}

/** The login at one of the servers; undefined = there is no such server. */
type Login = { readonly username: string | undefined; readonly password: string | undefined } | undefined;

/**
 * A line for each server whose password is published, or is the name of the user. A login without a password is no
 * fault here: the server decides about it.
 *
 * @param logins by the name of their setting
 */
export function passwordFaults(logins: Readonly<Record<string, Login>>): string[] {
  return Object.entries(logins)
    .filter(([, login]) => isPublished(login?.password, login?.username))
    .map(([name]) => `${name}: has a password that anyone can look up; set one made with: openssl rand -hex 24`);
}

function isPublished(password = "", user = ""): boolean {
  const given = password.toLowerCase();
  return given !== "" && (PUBLISHED_PASSWORDS.has(given) || given === user.toLowerCase());
}

interface Issuer {
  readonly issuer?: string | undefined;
  readonly allowHttpIssuer?: boolean | undefined;
}

/**
 * A line for an issuer that production refuses. With the default, the access tokens of many installations would name
 * the same issuer. With http, an attacker on the network can replace the key set.
 */
export function issuerFaults({ issuer, allowHttpIssuer }: Issuer): string[] {
  if (issuer === DEFAULT_ISSUER) {
    return ["LATCHKEY_ISSUER: must be set in production, to the https URL that access tokens name as their issuer"];
  }
  if (issuer === undefined || allowHttpIssuer || new URL(issuer).protocol === "https:") return [];
  return [
    "LATCHKEY_ISSUER: must be an https URL in production, or LATCHKEY_ALLOW_HTTP_ISSUER=true in a private network",
  ];
}

interface Argon2 {
  readonly argon2MemoryKib?: number | undefined;
  readonly argon2Passes?: number | undefined;
}

/** A line for each parameter of password hashes below the minimum. */
export function argon2Faults({ argon2MemoryKib = 0, argon2Passes = 0 }: Argon2): string[] {
  const { memoryKib, passes } = ARGON2_FLOOR;
  const ofMemory = `LATCHKEY_ARGON2_MEMORY_KIB: must be at least ${memoryKib} in production (OWASP)`;
  const ofPasses = `LATCHKEY_ARGON2_PASSES: must be at least ${passes} in production (OWASP)`;
  return [...(argon2MemoryKib < memoryKib ? [ofMemory] : []), ...(argon2Passes < passes ? [ofPasses] : [])];
}

/** Why these bytes are not a random key; undefined = they look random. */
function flawOf(bytes: Uint8Array): string | undefined {
  if (new Set(bytes).size < LEAST_DIFFERENT_BYTES || repeatsItself(bytes)) return "not random";
  return isText(bytes) ? "text and not random bytes" : undefined;
}

/** Whether the bytes are a shorter text repeated, such as 16 random bytes twice. */
function repeatsItself(bytes: Uint8Array): boolean {
  const once = Buffer.from(bytes);
  return Buffer.concat([once, once]).indexOf(once, 1) < once.length;
}

/**
 * Whether the bytes are UTF-8 without control characters except line breaks and tabs: a passphrase, or the output of
 * `openssl rand -hex 32` encoded once more. 32 random bytes are such a text once in 10^11 draws.
 */
function isText(bytes: Uint8Array): boolean {
  try {
    return !/[^\P{Cc}\t\n\r]/u.test(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    return false;
  }
}
