import type { Violation } from "../lib/errors.ts";

const MAX_SCOPES = 64;
/** As for the scopes of keys: printable ASCII without spaces. */
const SCOPE_GLOB = /^[\x21-\x7e]{1,128}$/;

/** What is wrong with a tier that an operator grants. */
export function tierViolation(field: string, tier: string, tierNames: readonly string[]): Violation | undefined {
  return tierNames.includes(tier) ? undefined : { field, description: `must be one of ${tierNames.join(", ")}` };
}

/** What is wrong with the globs by which an operator bounds the scopes of a user's keys. */
export function scopesViolation(field: string, scopes: readonly string[]): Violation | undefined {
  if (scopes.length > MAX_SCOPES) return { field, description: `must have at most ${MAX_SCOPES} entries` };
  if (new Set(scopes).size !== scopes.length) return { field, description: "must not have an entry twice" };
  const wrong = scopes.findIndex((scope) => !SCOPE_GLOB.test(scope));
  if (wrong < 0) return undefined;
  return { field: `${field}[${wrong}]`, description: "must be 1 to 128 printable ASCII characters without spaces" };
}
