import type { Key } from "./key.ts";

/** The fields of a key that authorize, and that an actor may set. */
export type Authority = Pick<Key, "tier" | "scopes" | "limits" | "allowedIps" | "allowedMethods"> & {
  readonly expiresAtMs?: number | null | undefined;
};

/** Maximum characters of one value on the audit trail, because users choose the length of scopes and allow-lists. */
const MAX_TEXT = 1000;

/** The authority of a new key as audit details, without empty fields. */
export function authorityDetails(authority: Authority): Record<string, string> {
  const texts = Object.entries(textsOf(authority)).filter(([, text]) => text !== "");
  return Object.fromEntries(texts.map(([path, text]) => [path, cut(text)]));
}

/** The changed fields of an authority as audit details, with the values before and after. */
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

/**
 * Texts by the paths of the contract. Lists keep their order; a space separates entries, because no entry contains a
 * space.
 */
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

/** As in LATCHKEY_TIERS: `per-minute/per-day`, with `-` for a figure of the tier. */
function limitsText({ perMinute, perDay }: Authority["limits"]): string {
  return perMinute === undefined && perDay === undefined ? "" : `${perMinute ?? "-"}/${perDay ?? "-"}`;
}

function cut(text: string): string {
  return text.length <= MAX_TEXT ? text : `${text.slice(0, MAX_TEXT)}... (${text.length} characters)`;
}
