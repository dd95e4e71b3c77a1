import { DAY_MS } from "../lib/clock.ts";
import { invalidField, invalidFields, type Violation } from "../lib/errors.ts";
import { isWellFormedUuid } from "../lib/id.ts";
import { scopeFault } from "../lib/scope.ts";
import { textViolation } from "../lib/text.ts";
import type { LimitFigures } from "../limits/limit.ts";
import { canonicalNetwork, networkFault } from "./allowed-ips.ts";
import { methodGlobFault } from "./globs.ts";

/** The fields that people and services may write into a key. Absent fields are not checked. */
export interface KeyFields {
  readonly name?: string;
  readonly description?: string;
  readonly scopes?: readonly string[];
  readonly metadata?: Readonly<Record<string, string>>;
  readonly allowedIps?: readonly string[];
  readonly allowedMethods?: readonly string[];
  readonly limits?: LimitFigures;
  /** undefined = never. Only checked if the field is present. */
  readonly expiresAtMs?: number | undefined;
}

/** All texts of a key that its owner chooses. */
export type KeyTexts = Required<Omit<KeyFields, "limits" | "expiresAtMs">>;

const MAX_LIST = 64;
const MAX_METADATA = 32;
/**
 * Maximum bytes of a key's texts. It lets a batch of 256 verdicts fit in the 4 MiB that gRPC clients accept by default,
 * with 4 KiB for the rest of each verdict.
 */
const MAX_KEY_BYTES = 12_288;
const YEAR_MS = 365.25 * DAY_MS;
const MAX_LIFE_MS = 10 * YEAR_MS;

/**
 * Checks the fields that are present, each by its own rules.
 *
 * @param at path of the message with the fields, such as `key.` or empty
 * @throws INVALID_FIELD that names every fault
 */
export function checkKeyFields(fields: KeyFields, nowMs: number, at = ""): void {
  const faults: Violation[] = [];
  const add = (field: string, description: string | undefined) => {
    if (description !== undefined) faults.push({ field: at + field, description });
  };
  const addText = (violation: Violation | undefined) => {
    if (violation !== undefined) faults.push({ ...violation, field: at + violation.field });
  };
  if (fields.name !== undefined) addText(textViolation("name", fields.name, { min: 1, max: 64 }));
  if (fields.description !== undefined) {
    addText(textViolation("description", fields.description, { min: 0, max: 1024, multiline: true }));
  }
  checkList("scopes", fields.scopes, scopeFault, add);
  checkList("allowed_ips", fields.allowedIps, networkFault, add, canonicalNetwork);
  checkList("allowed_methods", fields.allowedMethods, methodGlobFault, add);
  for (const violation of metadataViolations(fields.metadata ?? {})) addText(violation);
  add("limits.per_minute", figureFault(fields.limits?.perMinute));
  add("limits.per_day", figureFault(fields.limits?.perDay));
  add("expire_time", expiryFault(fields.expiresAtMs, nowMs));
  if (faults.length > 0) throw invalidFields(faults);
}

/**
 * Checks the total size of a key's texts. The size is bounded because the owner chooses it, and one statement with 120
 * ms reads up to 256 keys. A key that is too large already may change, but may not grow.
 *
 * @throws INVALID_FIELD that names the largest field
 */
export function checkKeyWeight(key: KeyTexts, before?: KeyTexts, at = ""): void {
  const weights = weightsOf(key);
  const bytes = totalOf(weights);
  if (bytes <= MAX_KEY_BYTES || (before !== undefined && bytes <= totalOf(weightsOf(before)))) return;
  const [[field]] = weights.toSorted(([, a], [, b]) => b - a) as [[string, number]];
  const all = weights.map(([each]) => each).join(", ");
  throw invalidField(
    at + field,
    `${all} must together have at most ${MAX_KEY_BYTES} bytes in UTF-8; scopes count twice`,
  );
}

function weightsOf(key: KeyTexts): [field: string, bytes: number][] {
  const bytesOf = (texts: readonly string[]) => texts.reduce((sum, text) => sum + Buffer.byteLength(text), 0);
  return [
    ["name", bytesOf([key.name])],
    ["description", bytesOf([key.description])],
    // An answer has most of them twice: as scopes and as effective_scopes.
    ["scopes", 2 * bytesOf(key.scopes)],
    ["metadata", bytesOf(Object.entries(key.metadata).flat())],
    ["allowed_ips", bytesOf(key.allowedIps)],
    ["allowed_methods", bytesOf(key.allowedMethods)],
  ];
}

function totalOf(weights: readonly [field: string, bytes: number][]): number {
  return weights.reduce((sum, [, bytes]) => sum + bytes, 0);
}

/** A request_id must be a UUID (AIP-155) if it is given. */
export function checkRequestId(requestId: string): void {
  if (requestId === "" || isWellFormedUuid(requestId)) return;
  throw invalidFields([{ field: "request_id", description: "must be a UUID" }]);
}

function checkList(
  field: string,
  entries: readonly string[] | undefined,
  fault: (entry: string) => string | undefined,
  add: (field: string, description: string | undefined) => void,
  canonical: (entry: string) => string = (entry) => entry,
): void {
  if (entries === undefined) return;
  if (entries.length > MAX_LIST) {
    add(field, `must have at most ${MAX_LIST} entries`);
    return;
  }
  if (new Set(entries.map(canonical)).size !== entries.length) add(field, "must not have an entry twice");
  entries.forEach((entry, index) => {
    add(`${field}[${index}]`, fault(entry));
  });
}

function* metadataViolations(metadata: Readonly<Record<string, string>>): Generator<Violation | undefined> {
  const entries = Object.entries(metadata);
  if (entries.length > MAX_METADATA) {
    yield { field: "metadata", description: `must have at most ${MAX_METADATA} entries` };
    return;
  }
  for (const [name, value] of entries) {
    // The message does not repeat the faulty name, because it may contain characters that no log or terminal should
    // show.
    const badName = textViolation("metadata", name, { min: 1, max: 64 });
    if (badName !== undefined) yield { field: "metadata", description: `a name ${badName.description}` };
    else yield textViolation(`metadata["${name}"]`, value, { min: 0, max: 512, multiline: true });
  }
}

function figureFault(figure: number | undefined): string | undefined {
  return figure !== undefined && figure < 0 ? "must not be negative" : undefined;
}

function expiryFault(expiresAtMs: number | undefined, nowMs: number): string | undefined {
  if (expiresAtMs === undefined) return undefined;
  if (Number.isNaN(expiresAtMs)) return "must be a valid time";
  if (expiresAtMs <= nowMs) return "must be in the future";
  return expiresAtMs > nowMs + MAX_LIFE_MS ? "must be at most 10 years ahead" : undefined;
}
