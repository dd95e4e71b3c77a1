import type { Violation } from "../lib/errors.ts";
import type { LimitFigures, NamedLimit } from "../limits/limit.ts";

const LIMIT_NAME = /^[a-z0-9._/-]{1,64}$/;
const MAX_NAMED_LIMITS = 8;

/** The subject of a key's windows. Other subjects have another prefix, so that none can be a key's. */
export function keySubject(keyId: string): string {
  return `key:${keyId}`;
}

/** Maximum bytes of the name of a subject. */
export const MAX_SUBJECT_NAME_BYTES = 256;

export function namedSubject(name: string): string {
  return `name:${name}`;
}

/** The key's own limit, which has no name. */
export function ownLimit(figures: LimitFigures): NamedLimit {
  return { name: "", perMinute: figures.perMinute, perDay: figures.perDay };
}

/**
 * The faults of the cost and the limits that a calling service sends. A cost above one of the caller's own limits can
 * never succeed, so it is a mistake. A limit of 0 is allowed, because it refuses every call on purpose.
 *
 * @param admitted whether the call has happened already: then its cost may be above a limit
 */
export function limitViolations(cost: number, limits: readonly NamedLimit[], admitted = false): Violation[] {
  const violations: Violation[] = [];
  if (cost < 0) violations.push({ field: "cost", description: "must not be negative" });
  const needed = admitted ? 0 : cost;
  if (limits.length === 0) return violations;
  if (limits.length > MAX_NAMED_LIMITS) {
    violations.push({ field: "limits", description: `must have at most ${MAX_NAMED_LIMITS} entries` });
    return violations;
  }
  const names = new Set<string>();
  for (const [index, limit] of limits.entries()) {
    const field = `limits[${index}]`;
    if (!LIMIT_NAME.test(limit.name)) {
      violations.push({ field: `${field}.name`, description: "must be 1 to 64 of a-z, 0-9, '.', '_', '/' and '-'" });
    }
    if (names.has(limit.name)) violations.push({ field: `${field}.name`, description: "must not occur twice" });
    names.add(limit.name);
    violations.push(...figureViolations(`${field}.per_minute`, limit.perMinute, needed));
    violations.push(...figureViolations(`${field}.per_day`, limit.perDay, needed));
  }
  return violations;
}

function* figureViolations(field: string, figure: number | undefined, cost: number): Generator<Violation> {
  if (figure === undefined) return;
  if (figure < 0) yield { field, description: "must not be negative" };
  else if (figure > 0 && cost > figure) yield { field: "cost", description: `is above ${field} and can never fit` };
}
