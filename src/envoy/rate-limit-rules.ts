import type { LimitFigures } from "../limits/limit.ts";

/** One entry of a descriptor. */
export interface DescriptorEntry {
  readonly key: string;
  readonly value: string;
}

/** The limits of all descriptors whose entries have these keys, in this order. */
interface Rule {
  /** For each entry the value that it must have; undefined for any value. */
  readonly values: readonly (string | undefined)[];
  readonly figures: LimitFigures;
}

/** The contents of the file of rate limits: domain -> keys of the entries -> rules, in the order of the file. */
export interface RateLimitRules {
  readonly domains: ReadonlyMap<string, ReadonlyMap<string, readonly Rule[]>>;
  /** Number of rules in all domains. */
  readonly size: number;
}

/** The rules of a service without a file. */
export const NO_RULES: RateLimitRules = Object.freeze({ domains: new Map(), size: 0 });

/** Maximum entries of one descriptor. */
export const MAX_ENTRIES = 16;
/** Maximum bytes of a domain, and of an entry's key. */
export const MAX_NAME_BYTES = 256;
/** The largest figure of a limit. The store counts in int32. */
export const MAX_FIGURE = 2 ** 31 - 1;
/** The only entry of a descriptor that names a key of this service. */
export const KEY_ENTRY = "key";

const MAX_DOMAINS = 1_000;
/** It bounds the work of finding rules that can't apply, which grows with its square. */
const MAX_RULES = 1_000;
const MAX_FAULTS = 20;
const UNITS = ["MINUTE", "DAY"];

/** The limits of a descriptor: those of the first rule of its domain that fits; undefined if none does. */
export function figuresOf(
  rules: RateLimitRules,
  domain: string,
  entries: readonly DescriptorEntry[],
): LimitFigures | undefined {
  const sameKeys = rules.domains.get(domain)?.get(shapeOf(entries));
  return sameKeys?.find(({ values }) =>
    values.every((value, at) => value === undefined || value === entries[at]!.value),
  )?.figures;
}

/**
 * Reads the text of the file. Pure.
 *
 * @throws {Error} whose message names all faults, the first 20 of them with their place. It never quotes the text,
 *   because the setting may name a file of secrets by mistake.
 */
export function parseRules(text: string): RateLimitRules {
  const faults = new Faults();
  const domains = new Map<string, ReadonlyMap<string, readonly Rule[]>>();
  const file = faults.fields("", parseJson(text), ["domains"]);
  let size = 0;
  for (const [at, value] of faults.list("domains", file.domains, MAX_DOMAINS).entries()) {
    const path = `domains[${at}]`;
    const row = faults.fields(path, value, ["domain", "limits"]);
    const domain = faults.name(`${path}.domain`, row.domain);
    if (domains.has(domain)) faults.add(`${path}.domain`, "must not occur twice");
    const rules = readRules(faults, `${path}.limits`, row.limits);
    size += [...rules.values()].reduce((sum, some) => sum + some.length, 0);
    domains.set(domain, rules);
  }
  if (size > MAX_RULES) faults.add("domains", `must have at most ${MAX_RULES} limits together`);
  faults.throwIfAny();
  return Object.freeze({ domains, size });
}

function readRules(faults: Faults, path: string, value: unknown): ReadonlyMap<string, readonly Rule[]> {
  const byShape = new Map<string, Rule[]>();
  for (const [at, one] of faults.list(path, value, MAX_RULES).entries()) {
    const row = faults.fields(`${path}[${at}]`, one, ["descriptor", "limits"]);
    const entries = readEntries(faults, `${path}[${at}].descriptor`, row.descriptor);
    const figures = readFigures(faults, `${path}[${at}].limits`, row.limits);
    const rule = { values: entries.map((entry) => entry.value), figures };
    const sameKeys = byShape.get(shapeOf(entries)) ?? [];
    if (sameKeys.some((earlier) => covers(earlier, rule))) {
      faults.add(
        `${path}[${at}].descriptor`,
        "never applies, because an earlier one fits first; put this one before it",
      );
    }
    if (entries.length === 1 && entries[0]!.key === KEY_ENTRY) {
      faults.add(
        `${path}[${at}].descriptor`,
        `must not be "${KEY_ENTRY}" alone: that is a key, which has its own limits`,
      );
    }
    byShape.set(shapeOf(entries), [...sameKeys, rule]);
  }
  return byShape;
}

function readEntries(faults: Faults, path: string, value: unknown) {
  return faults.list(path, value, MAX_ENTRIES).map((one, at) => {
    const row = faults.fields(`${path}[${at}]`, one, ["key"], ["value"]);
    const given = row.value;
    if (given !== undefined && typeof given !== "string") faults.add(`${path}[${at}].value`, "must be a text");
    return { key: faults.name(`${path}[${at}].key`, row.key), value: given as string | undefined };
  });
}

function readFigures(faults: Faults, path: string, value: unknown): LimitFigures {
  const figures = new Map<unknown, number>();
  for (const [at, one] of faults.list(path, value, UNITS.length).entries()) {
    const row = faults.fields(`${path}[${at}]`, one, ["requests_per_unit", "unit"]);
    const { unit, requests_per_unit: figure } = row as { unit: unknown; requests_per_unit: number };
    if (!UNITS.includes(unit as string)) faults.add(`${path}[${at}].unit`, 'must be "MINUTE" or "DAY"');
    if (figures.has(unit)) faults.add(`${path}[${at}].unit`, "must not occur twice");
    if (!(Number.isInteger(figure) && figure >= 0 && figure <= MAX_FIGURE)) {
      faults.add(`${path}[${at}].requests_per_unit`, `must be a whole number from 0 to ${MAX_FIGURE}`);
    }
    figures.set(unit, figure);
  }
  return Object.freeze({ perMinute: figures.get("MINUTE"), perDay: figures.get("DAY") });
}

/** Entries with the same keys in the same order have the same shape. */
function shapeOf(entries: readonly { readonly key: string }[]): string {
  return JSON.stringify(entries.map(({ key }) => key));
}

/** Whether a rule fits every descriptor that another rule with the same keys fits. */
function covers(earlier: Rule, later: Rule): boolean {
  return earlier.values.every((value, at) => value === undefined || value === later.values[at]);
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text.replace(/^\uFEFF/, ""));
  } catch (error) {
    const where = /line \d+ column \d+/.exec((error as Error).message)?.[0];
    throw new Error(where === undefined ? "must be JSON" : `must be JSON; the fault is at ${where}`);
  }
}

/** Collects the faults of a file. Each reader returns something to go on with. */
class Faults {
  readonly #found: string[] = [];

  add(path: string, description: string): void {
    this.#found.push(path === "" ? description : `${path}: ${description}`);
  }

  throwIfAny(): void {
    if (this.#found.length === 0) return;
    const others = this.#found.length - MAX_FAULTS;
    const first = this.#found.slice(0, MAX_FAULTS).join("; ");
    throw new Error(others > 0 ? `${first}; and ${others} more` : first);
  }

  fields(path: string, value: unknown, needed: readonly string[], optional: readonly string[] = []) {
    const names = [...needed, ...optional].map((name) => `"${name}"`).join(" and ");
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      this.add(path, `must be an object with ${names}`);
      return {};
    }
    const unknown = Object.keys(value).some((name) => !needed.includes(name) && !optional.includes(name));
    if (unknown) this.add(path, `must have no other fields than ${names}`);
    for (const name of needed) if (!Object.hasOwn(value, name)) this.add(path, `must have "${name}"`);
    return value as Readonly<Record<string, unknown>>;
  }

  /** A list that is not empty. A list that is missing is a fault of its object. */
  list(path: string, value: unknown, max: number): readonly unknown[] {
    if (value === undefined) return [];
    if (Array.isArray(value) && value.length > 0 && value.length <= max) return value;
    this.add(path, `must be a list with 1 to ${max} entries`);
    return [];
  }

  name(path: string, value: unknown): string {
    if (value === undefined) return "";
    if (typeof value === "string" && value !== "" && Buffer.byteLength(value) <= MAX_NAME_BYTES) return value;
    this.add(path, `must be a text of 1 to ${MAX_NAME_BYTES} bytes`);
    return "";
  }
}
