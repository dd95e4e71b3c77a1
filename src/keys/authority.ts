import type { Key } from "./key.ts";

/** What a verdict about a key rests on and an actor may set. */
export type Authority = Pick<Key, "tier" | "scopes" | "limits" | "allowedIps" | "allowedMethods"> & {
  readonly expiresAtMs?: number | null | undefined;
};

/** Longest text of one value on the audit trail: users choose how long their scopes and allow-lists are. */
const MAX_TEXT = 1000;

/** What a new key may do, for the audit trail. What is empty is left out. */
export function authorityDetails(authority: Authority): Record<string, string> {
  const texts = Object.entries(textsOf(authority)).filter(([, text]) => text !== "");
  return Object.fromEntries(texts.map(([path, text]) => [path, cut(text)]));
}

/** What changed of it, with the value before and after. */
export function authorityChanges(before: Authority, after: Authority): Record<string, string> {
  const [was, is] = [textsOf(before), textsOf(after)];
  const paths = Object.keys(was).filter((path) => was[path] !== is[path]);
  return Object.fromEntries(
    paths.flatMap((path) => [
      [`${path}_before`, cut(was[path]!)],
      [`${path}_after`, cut(is[path]!)],
    ]),
  );
}

/** By the paths of the contract. Lists are in their order, with spaces between: none of their entries has one. */
function textsOf({ tier, scopes, limits, allowedIps, allowedMethods, expiresAtMs }: Authority): Record<string, string> {
  return {
    tier,
    scopes: scopes.join(" "),
    limits: limitsText(limits),
    allowed_ips: allowedIps.join(" "),
    allowed_methods: allowedMethods.join(" "),
    expire_time: expiresAtMs == null ? "" : new Date(expiresAtMs).toISOString(),
  };
}

/** As in LATCHKEY_TIERS, `per-minute/per-day`, with `-` for what follows the tier. */
function limitsText({ perMinute, perDay }: Authority["limits"]): string {
  return perMinute === undefined && perDay === undefined ? "" : `${perMinute ?? "-"}/${perDay ?? "-"}`;
}

function cut(text: string): string {
  return text.length <= MAX_TEXT ? text : `${text.slice(0, MAX_TEXT)}... (${text.length} characters)`;
}
