import { hash } from "node:crypto";
import { RateLimitUnit } from "../gen/envoy/type/v3/ratelimit_unit_pb.ts";
import { MAX_SUBJECT_NAME_BYTES } from "../keys/limit-requests.ts";
import { invalidFields, type Violation } from "../lib/errors.ts";
import type { LimitFigures } from "../limits/limit.ts";
import { type AskedDescriptor, type AskedLimit, type AskedLimits, MAX_DESCRIPTORS } from "./rate-limit-message.ts";
import { type DescriptorEntry, KEY_ENTRY, MAX_ENTRIES, MAX_FIGURE, MAX_NAME_BYTES } from "./rate-limit-rules.ts";

/** A descriptor that was checked. */
export interface Descriptor {
  readonly entries: readonly DescriptorEntry[];
  /** The id of the key that it names, whether or not there is such a key; undefined for other descriptors. */
  readonly keyId: string | undefined;
  readonly cost: number;
  /** The limit that the request brings with it. */
  readonly override: LimitFigures | undefined;
}

/** It is above every figure, so that a cost of this size never fits. */
const MAX_COST = 2n ** 32n;

/**
 * The descriptors of a request. Envoy's configuration decides their number and keys, so that a fault in those is the
 * operator's. Values come from Envoy's clients: any text is good, of any length.
 *
 * @throws INVALID_FIELD that names every fault
 */
export function readDescriptors(request: AskedLimits): readonly Descriptor[] {
  const violations = [...violationsOf(request)];
  if (violations.length > 0) throw invalidFields(violations);
  return request.descriptors.map(({ entries, limit, hitsAddend }) => ({
    entries,
    keyId: entries.length === 1 && entries[0]!.key === KEY_ENTRY ? entries[0]!.value : undefined,
    cost: costOf(hitsAddend ?? BigInt(request.hitsAddend)),
    override: limit && figuresOf(limit),
  }));
}

/**
 * The name of a descriptor's subject, as CheckRateLimit takes it: `domain/key=value/key=value`. Each part is
 * percent-encoded as by encodeURIComponent, so that no part can end early and be another subject. A name of more than
 * 256 bytes is `#` and its SHA-256 in base64url.
 */
export function subjectName(domain: string, entries: readonly DescriptorEntry[]): string {
  const parts = entries.map(({ key, value }) => `${encoded(key)}=${encoded(value)}`);
  const name = [encoded(domain), ...parts].join("/");
  return name.length <= MAX_SUBJECT_NAME_BYTES ? name : `#${hash("sha256", name, "base64url")}`;
}

/** Bytes that are no UTF-8 (`textOf`) are encoded as themselves. */
function encoded(text: string): string {
  if (text.isWellFormed()) return encodeURIComponent(text);
  const parts = text.split(/([\udc80-\udcff])/);
  return parts.map((part, at) => (at % 2 === 0 ? encodeURIComponent(part.toWellFormed()) : escaped(part))).join("");
}

function escaped(surrogate: string): string {
  return `%${(surrogate.charCodeAt(0) - 0xdc00).toString(16).toUpperCase()}`;
}

function* violationsOf({ domain, descriptors }: AskedLimits): Generator<Violation> {
  yield* nameViolations("domain", domain);
  if (descriptors.length === 0 || descriptors.length > MAX_DESCRIPTORS) {
    yield { field: "descriptors", description: `must have 1 to ${MAX_DESCRIPTORS} entries` };
    return;
  }
  for (const [at, descriptor] of descriptors.entries()) yield* descriptorViolations(`descriptors[${at}]`, descriptor);
}

function* descriptorViolations(path: string, descriptor: AskedDescriptor): Generator<Violation> {
  const { entries, limit, isNegativeHits } = descriptor;
  if (entries.length === 0 || entries.length > MAX_ENTRIES) {
    yield { field: `${path}.entries`, description: `must have 1 to ${MAX_ENTRIES} entries` };
  } else {
    for (const [at, { key }] of entries.entries()) yield* nameViolations(`${path}.entries[${at}].key`, key);
  }
  if (limit !== undefined && limit.unit !== RateLimitUnit.MINUTE && limit.unit !== RateLimitUnit.DAY) {
    yield { field: `${path}.limit.unit`, description: "must be MINUTE or DAY" };
  }
  if (isNegativeHits) {
    yield { field: `${path}.is_negative_hits`, description: "must be false: a count can't be taken back" };
  }
}

function* nameViolations(field: string, name: string): Generator<Violation> {
  if (name === "") yield { field, description: "must not be empty" };
  else if (Buffer.byteLength(name) > MAX_NAME_BYTES) {
    yield { field, description: `must have at most ${MAX_NAME_BYTES} bytes` };
  }
}

function costOf(hits: bigint): number {
  return hits === 0n ? 1 : Number(hits < MAX_COST ? hits : MAX_COST);
}

function figuresOf({ requestsPerUnit, unit }: AskedLimit): LimitFigures {
  const figure = Math.min(requestsPerUnit, MAX_FIGURE);
  return unit === RateLimitUnit.MINUTE
    ? { perMinute: figure, perDay: undefined }
    : { perMinute: undefined, perDay: figure };
}
