import { checkUse } from "../keys/check-use.ts";
import { DomainError } from "../lib/errors.ts";
import type { NamedLimit } from "../limits/limit.ts";

/** The kinds of credentials that a route takes. */
export type Accepted = "key" | "user" | "either";

/** The needs of a route. */
export interface RouteSettings {
  readonly accept: Accepted;
  readonly scopes: readonly string[];
  readonly tiers: readonly string[];
  readonly cost: number;
  /** Empty: keys of any environment. */
  readonly environment: string;
  readonly limits: readonly NamedLimit[];
  /** The header with the sender's address, in lower case; undefined: the address of the TCP peer. */
  readonly addressHeader: string | undefined;
}

/** The faults of a route's settings, each with the name of the setting. */
export interface SettingFaults {
  readonly faults: readonly string[];
}

type Extension = readonly [name: string, value: string];

const PREFIX = "latchkey.";
/** Any spelling of our prefix, so that a mistyped setting is not taken for another program's. */
const OURS = /^latchkey/i;
const LIMIT = /^limits\.(.+)\.(per_minute|per_day)$/s;
const WHOLE_NUMBER = /^\d{1,10}$/;
const MAX_INT32 = 0x7fffffff;
/** A header's name (RFC 9110, 5.1). */
const HEADER_NAME = /^[a-z0-9!#$%&'*+.^_`|~-]{1,64}$/;
/** Headers that clients write, or that have a credential. No address is read from them. */
const NO_ADDRESS = new Set(["x-forwarded-for", "forwarded", "x-api-key", "authorization"]);
const ACCEPTED: ReadonlyMap<string, Accepted> = new Map([
  ["key", "key"],
  ["user", "user"],
  ["key,user", "either"],
  ["user,key", "either"],
]);
/** Settings that say nothing about people. */
const OF_KEYS = /^latchkey\.(scopes|tiers|cost|environment|limits\.)/;

interface Draft {
  accept: Accepted;
  scopes: readonly string[];
  tiers: readonly string[];
  cost: number;
  environment: string;
  addressHeader: string | undefined;
  readonly limits: Map<string, { perMinute: number | undefined; perDay: number | undefined }>;
}

/** The settings of a route without any: each good key is admitted. */
const DEFAULTS: RouteSettings = Object.freeze({
  accept: "key",
  scopes: [],
  tiers: [],
  cost: 1,
  environment: "",
  limits: [],
  addressHeader: undefined,
});

/**
 * Reads a route's settings from its context_extensions. Extensions of other programs are left alone. There is no
 * setting that is ignored, because a typing error would then admit requests that the operator meant to refuse.
 *
 * Lists are separated by blanks or commas: `latchkey.scopes: "orders:read orders:write"`.
 */
export function routeSettings(extensions: readonly Extension[]): RouteSettings | SettingFaults {
  const ours = extensions.filter(([name]) => OURS.test(name));
  if (ours.length === 0) return DEFAULTS;
  const draft: Draft = { ...DEFAULTS, limits: new Map() };
  const faults = ours.flatMap(([name, value]) => {
    const fault = readSetting(draft, name, value);
    return fault === undefined ? [] : [`${nameForPeople(name)}: ${fault}`];
  });
  const ofKeys = draft.accept === "user" ? ours.find(([name]) => OF_KEYS.test(name)) : undefined;
  if (ofKeys !== undefined) faults.push(`${nameForPeople(ofKeys[0])}: says nothing about people, but accept is user`);
  if (faults.length > 0) return { faults };
  const limits = [...draft.limits].map(([name, figures]) => ({ name, ...figures }));
  const settings = { ...draft, limits };
  return useFaults(settings) ?? settings;
}

/** Reads one setting into a draft. @returns its fault, if it has one */
function readSetting(draft: Draft, name: string, value: string): string | undefined {
  const setting = name.startsWith(PREFIX) ? name.slice(PREFIX.length) : "";
  const [, limit, figure] = LIMIT.exec(setting) ?? [];
  if (limit !== undefined) return readFigure(draft, limit, figure === "per_minute" ? "perMinute" : "perDay", value);
  switch (setting) {
    case "accept": {
      const accept = ACCEPTED.get(value.replaceAll(" ", ""));
      if (accept === undefined) return "must be key, user, or key,user";
      draft.accept = accept;
      return undefined;
    }
    case "scopes":
    case "tiers":
      draft[setting] = value.split(/[ ,]+/).filter((each) => each !== "");
      return draft[setting].length === 0 ? "must not be empty" : undefined;
    case "cost":
      draft.cost = numberOf(value);
      return faultOfNumber(draft.cost);
    case "environment":
      draft.environment = value;
      return value === "" ? "must not be empty" : undefined;
    case "address_header":
      draft.addressHeader = value.toLowerCase();
      if (!HEADER_NAME.test(draft.addressHeader)) return "must be the name of a header";
      if (!NO_ADDRESS.has(draft.addressHeader.replaceAll("_", "-"))) return undefined;
      return "must be a header that Envoy writes, such as x-envoy-external-address";
    default:
      return "is no setting";
  }
}

function readFigure(draft: Draft, name: string, figure: "perMinute" | "perDay", value: string): string | undefined {
  const number = numberOf(value);
  draft.limits.set(name, { perMinute: undefined, perDay: undefined, ...draft.limits.get(name), [figure]: number });
  return faultOfNumber(number);
}

/** A whole number up to 2^31 - 1; NaN for another text. */
function numberOf(value: string): number {
  const number = WHOLE_NUMBER.test(value) ? Number(value) : Number.NaN;
  return number <= MAX_INT32 ? number : Number.NaN;
}

function faultOfNumber(number: number): string | undefined {
  return Number.isNaN(number) ? `must be a whole number from 0 to ${MAX_INT32}` : undefined;
}

/** The faults that VerifyKey would find: they are the route's, whatever a request is like. */
function useFaults({ scopes, tiers, cost, environment, limits }: RouteSettings): SettingFaults | undefined {
  const asked = { requiredScopes: scopes, allowedTiers: tiers, cost, environment, limits };
  try {
    checkUse({ ...asked, rawKey: "", clientIp: "", method: "" });
    return undefined;
  } catch (error) {
    if (!(error instanceof DomainError) || error.reason !== "INVALID_FIELD") throw error;
    return { faults: error.violations.map(({ field, description }) => `${field}: ${description}`) };
  }
}

/** The name of an extension in a log line: at most 64 characters, all of them visible. */
function nameForPeople(name: string): string {
  return name.slice(0, 64).replace(/[^\x21-\x7e]/g, "?");
}
