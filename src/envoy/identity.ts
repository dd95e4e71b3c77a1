import { presentedToken } from "../answers/presented-credential.ts";
import { effectiveScopes } from "../keys/judge-key.ts";
import type { CheckedRequest } from "./checked-request.ts";
import type { Judged } from "./judgement.ts";

/** Names of the facts about an admitted request that Envoy hands on, as they are in dynamic metadata. */
export const FACT_NAMES = ["key_id", "owner_id", "tier", "scopes", "environment", "user_id"] as const;
export type FactName = (typeof FACT_NAMES)[number];

/** A fact with a text, never an empty one. */
export interface Fact {
  readonly name: FactName;
  /** The header that has it: `x-latchkey-key-id`. */
  readonly header: string;
  readonly value: string;
}

/** The header of each fact. */
export const FACT_HEADERS = Object.freeze(
  Object.fromEntries(FACT_NAMES.map((name) => [name, `x-latchkey-${name.replace("_", "-")}`])),
) as Readonly<Record<FactName, string>>;
const HEADERS = Object.values(FACT_HEADERS);
const PREFIX = "x-latchkey-";
const KEY_HEADER = "x-api-key";
/** A name that Envoy may remove (RFC 9110, 5.1). */
const REMOVABLE = /^[a-z0-9!#$%&'*+.^_`|~-]+$/;

/** The facts about an admitted request, in the order of FACT_NAMES. Those that it does not have are left out. */
export function identityOf({ key: record, userId }: Judged): Fact[] {
  const facts: Fact[] = [];
  const add = (name: FactName, value: string | undefined) => {
    if (value !== undefined && value !== "") facts.push({ name, header: FACT_HEADERS[name], value });
  };
  if (record !== undefined) {
    const { key, owner, tier } = record;
    add("key_id", key.id);
    add("owner_id", key.ownerId);
    add("tier", tier);
    add("scopes", effectiveScopes(key, owner).join(" "));
    add("environment", key.environment);
  }
  add("user_id", userId);
  return facts;
}

/**
 * The headers that must not reach the upstream: facts that this request does not have, and all that a client made up,
 * in any spelling that an upstream may take for a fact (CGI and WSGI make `_` of `-`). Also the credential. A header
 * that is set is never among them, because Envoy removes after it sets.
 */
export function headersToRemove(request: CheckedRequest, facts: readonly Fact[]): string[] {
  const isSet = (header: string) => facts.some((fact) => fact.header === header);
  const removed = HEADERS.filter((header) => !isSet(header));
  if (presentedToken((name) => request.values(name)).kind !== "none") removed.push("authorization");
  for (const name of request.namesWith(PREFIX)) {
    // A fact's own header is either set, or already in the list.
    if (!HEADERS.includes(name) && REMOVABLE.test(name)) removed.push(name);
  }
  for (const name of request.namesWith(KEY_HEADER)) {
    if (name.length === KEY_HEADER.length) removed.push(name);
  }
  return removed;
}
