/**
 * The parsers of settings: text -> value in domain units, or an Error that says what the value must be. No error
 * repeats the text, because it may be a secret in the wrong place.
 */
import { isIP } from "node:net";
import { DAY_MS } from "../lib/clock.ts";
import type { MasterKey } from "../lib/key-ring.ts";
import { scopeFault } from "../lib/scope.ts";

/** A tier and the limits of its keys. */
export interface Tier {
  readonly name: string;
  /** undefined = no limit, 0 = nothing is allowed. */
  readonly perMinute: number | undefined;
  readonly perDay: number | undefined;
}

export interface Address {
  readonly host: string;
  readonly port: number;
}

/** Several faults of one value, each reported in a line of its own. */
export class ValueFaults extends Error {
  readonly faults: readonly string[];

  constructor(faults: readonly string[]) {
    super(faults.join("; "));
    this.faults = faults;
  }
}

const WORD = /^[a-z][a-z0-9]{0,15}$/;
const RESERVED_WORDS = new Set(["svc", "ref"]);

/** Any text except the empty one. */
export function text(value: string): string {
  if (value === "") throw new Error("must not be empty");
  return value;
}

/** `true` or `false`. Nothing else, because users of `yes` or `1` would have to guess what `off` and `0` mean. */
export function bool(value: string): boolean {
  if (value !== "true" && value !== "false") throw new Error("must be true or false");
  return value === "true";
}

/** One word of a closed list. */
export function oneOf<const T extends string>(...choices: readonly T[]): (value: string) => T {
  return (value) => {
    if (!(choices as readonly string[]).includes(value)) throw new Error(`must be one of ${choices.join(", ")}`);
    return value as T;
  };
}

/** A whole number in decimal digits, bounds included. */
export function integer(min: number, max: number): (value: string) => number {
  return (value) => {
    const number = /^\d{1,10}$/.test(value) ? Number(value) : Number.NaN;
    if (!(number >= min && number <= max)) throw new Error(`must be a whole number from ${min} to ${max}`);
    return number;
  };
}

/** Seconds in the environment, milliseconds inside. */
export function seconds(min: number, max: number): (value: string) => number {
  const parse = integer(min, max);
  return (value) => parse(value) * 1000;
}

/** Days in the environment, milliseconds inside. */
export function days(min: number, max: number): (value: string) => number {
  const parse = integer(min, max);
  return (value) => parse(value) * DAY_MS;
}

/** A comma-separated list; the empty text is the empty list. */
export function list<T>(parse: (value: string) => T): (value: string) => readonly T[] {
  return (value) => {
    const parts = value === "" ? [] : value.split(",").map((part) => part.trim());
    return Object.freeze(parts.map(parse));
  };
}

/** `host:port`, IPv6 in brackets. */
export function address(value: string): Address {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(value);
  const port = Number(match?.[3]);
  if (match === null || port > 65_535) throw new Error("must be host:port, IPv6 in brackets");
  return Object.freeze({ host: (match[1] ?? match[2])!, port });
}

/** Whether traffic to a host stays on this machine. */
export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || (isIP(host) === 4 && host.startsWith("127."));
}

/** Whether two addresses are the same. Port 0 is never the same, because it takes a different port each time. */
export function isSameAddress(one: Address, other: Address | undefined): boolean {
  return one.port !== 0 && one.port === other?.port && one.host === other.host;
}

/** A URL with one of these protocols (colon included). */
export function url(...protocols: string[]): (value: string) => string {
  return (value) => {
    if (!URL.canParse(value) || !protocols.includes(new URL(value).protocol)) {
      throw new Error(`must be a URL that starts with ${protocols.map((p) => `${p}//`).join(" or ")}`);
    }
    return value;
  };
}

/**
 * The issuer of access tokens, unchanged, because verifiers compare it letter by letter. RFC 8414 section 2 and OpenID
 * Connect Discovery allow neither a query nor a fragment. A user or password is refused, because each token would show
 * it.
 */
export function issuer(value: string): string {
  const { username, password } = new URL(url("http:", "https:")(value));
  if (/[?#]/.test(value) || username !== "" || password !== "") {
    throw new Error("must be a URL without query, fragment, user and password");
  }
  return value;
}

/** An origin as a browser sends it (RFC 6454): no path, no trailing slash. */
export function origin(value: string): string {
  if (!URL.canParse(value) || new URL(value).origin !== value)
    throw new Error("must be origins such as https://example.com");
  return value;
}

/** A glob of scopes. */
export function scopeGlob(value: string): string {
  const fault = scopeFault(value);
  if (fault !== undefined) throw new Error(`must be globs of scopes; each ${fault}`);
  return value;
}

/** A word that may be part of a key, such as `kit` and `live` in `kit_live_...`. */
export function word(value: string): string {
  if (!WORD.test(value) || RESERVED_WORDS.has(value)) {
    throw new Error(`must match ${WORD.source} and not be ${[...RESERVED_WORDS].join(" or ")}`);
  }
  return value;
}

/** Words of keys, each once. The first is the default. */
export function environments(value: string): readonly [string, ...string[]] {
  const words = value.split(",").map((part) => word(part.trim()));
  if (new Set(words).size !== words.length) throw new Error("must not name an environment twice");
  return Object.freeze(words) as unknown as readonly [string, ...string[]];
}

/** `name:per-minute/per-day`, from lowest to highest. */
export function tiers(value: string): readonly [Tier, ...Tier[]] {
  const wanted = "must be name:per-minute/per-day, comma-separated, such as basic:20/1000,pro:60/-";
  const rows = value.split(",").map((part) => {
    const match = /^([a-z][a-z0-9_-]{0,31}):(-|\d{1,9})\/(-|\d{1,9})$/.exec(part.trim());
    if (match === null) throw new Error(wanted);
    return Object.freeze({ name: match[1]!, perMinute: figure(match[2]!), perDay: figure(match[3]!) });
  });
  if (new Set(rows.map((tier) => tier.name)).size !== rows.length) throw new Error("must not name a tier twice");
  return Object.freeze(rows) as unknown as readonly [Tier, ...Tier[]];
}

function figure(value: string): number | undefined {
  return value === "-" ? undefined : Number(value);
}

/** `version:base64`, comma-separated; the first one protects new data. The fault names the version, never the bytes. */
export function masterKeys(value: string): readonly [MasterKey, ...MasterKey[]] {
  const keys = value.split(",").map((part) => {
    const match = /^([1-9]\d{0,3}):([A-Za-z0-9+/]+={0,2})$/.exec(part.trim());
    if (match === null) throw new Error("must be version:base64, comma-separated, versions from 1");
    const bytes = Buffer.from(match[2]!, "base64");
    if (bytes.length < 32)
      throw new Error(`version ${match[1]} must have at least 32 bytes; make one with: openssl rand -base64 32`);
    return Object.freeze({ version: Number(match[1]), bytes: new Uint8Array(bytes) });
  });
  if (new Set(keys.map((key) => key.version)).size !== keys.length) throw new Error("must not name a version twice");
  for (const [index, { version, bytes }] of keys.entries()) {
    const twin = keys.slice(0, index).find((other) => Buffer.compare(other.bytes, bytes) === 0);
    if (twin !== undefined) {
      throw new Error(
        `versions ${twin.version} and ${version} have the same bytes; make new ones with: openssl rand -base64 32`,
      );
    }
  }
  return Object.freeze(keys) as unknown as readonly [MasterKey, ...MasterKey[]];
}
