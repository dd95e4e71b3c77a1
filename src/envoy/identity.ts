import { presentedToken } from "../answers/presented-credential.ts";
import { effectiveScopes } from "../keys/judge-key.ts";
import type { CheckedRequest } from "./checked-request.ts";
import type { Judged } from "./judgement.ts";

/** The facts about an admitted request that Envoy hands on, by their names in dynamic metadata. */
export type IdentityFacts = Readonly<Record<FactName, string>>;

/** Names of all facts. Each is a header, too: `x-latchkey-key-id`. */
export const FACT_NAMES = ["key_id", "owner_id", "tier", "scopes", "environment", "user_id"] as const;
export type FactName = (typeof FACT_NAMES)[number];

const HEADERS: ReadonlyMap<FactName, string> = new Map(
  FACT_NAMES.map((name) => [name, `x-latchkey-${name.replace("_", "-")}`]),
);
const PREFIX = "x-latchkey-";
const KEY_HEADER = "x-api-key";
/** A name that Envoy may remove (RFC 9110, 5.1). Pseudo-headers are not among them. */
const REMOVABLE = /^[a-z0-9!#$%&'*+.^_`|~-]+$/;

/** The header of a fact. */
export function headerOf(name: FactName): string {
  return HEADERS.get(name)!;
}

/** The facts about an admitted request, in the order of FACT_NAMES. Facts that it does not have are left out. */
export function identityOf({ key: record, userId }: Judged): [FactName, string][] {
  const { key, owner, tier } = record ?? {};
  const facts: Readonly<Record<FactName, string | undefined>> = {
    key_id: key?.id,
    owner_id: key?.ownerId,
    tier,
    scopes: key && effectiveScopes(key, owner).join(" "),
    environment: key?.environment,
    user_id: userId,
  };
  return FACT_NAMES.flatMap((name): [FactName, string][] => {
    const value = facts[name];
    return value === undefined || value === "" ? [] : [[name, value]];
  });
}

/**
 * The headers that must not reach the upstream: facts that this request does not have, and all that a client forged, in
 * any spelling that an upstream may take for a fact (CGI and WSGI make `_` of `-`). Also the credential. A header that
 * is set is never among them, because Envoy removes after it sets.
 */
export function headersToRemove(request: CheckedRequest, facts: readonly (readonly [FactName, string])[]): Set<string> {
  const set = new Set(facts.map(([name]) => headerOf(name)));
  const removed = new Set<string>();
  for (const header of HEADERS.values()) {
    if (!set.has(header)) removed.add(header);
  }
  if (presentedToken((name) => request.values(name)).kind !== "none") removed.add("authorization");
  for (const name of request.names) {
    const spelled = name.replaceAll("_", "-");
    const isOurs = spelled.startsWith(PREFIX) || spelled === KEY_HEADER;
    if (isOurs && !set.has(name) && REMOVABLE.test(name)) removed.add(name);
  }
  return removed;
}
