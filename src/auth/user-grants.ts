import type { Violation } from "../lib/errors.ts";
import { scopeFault } from "../lib/scope.ts";

const MAX_SCOPES = 64;

/** The fault of a tier that an operator grants, or undefined. */
export function tierViolation(field: string, tier: string, tierNames: readonly string[]): Violation | undefined {
  return tierNames.includes(tier) ? undefined : { field, description: `must be one of ${tierNames.join(", ")}` };
}

/** The first fault of the globs by which an operator bounds the scopes of a user's keys, or undefined. */
export function scopesViolation(field: string, scopes: readonly string[]): Violation | undefined {
  if (scopes.length > MAX_SCOPES) return { field, description: `must have at most ${MAX_SCOPES} entries` };
  if (new Set(scopes).size !== scopes.length) return { field, description: "must not have an entry twice" };
  const wrong = scopes.findIndex((scope) => scopeFault(scope) !== undefined);
  return wrong < 0 ? undefined : { field: `${field}[${wrong}]`, description: scopeFault(scopes[wrong]!)! };
}
