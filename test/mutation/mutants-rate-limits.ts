import { mutantsOf } from "./tested-mutant.ts";

const SERVICE = ["test/envoy/rate-limit-service.test.ts", "test/rpc/should-rate-limit.test.ts"];
const DESCRIPTORS = ["test/envoy/rate-limit-descriptors.test.ts", "test/envoy/rate-limit-message.test.ts"];
const RULES = ["test/envoy/rate-limit-rules.test.ts"];

/** The answers to Envoy's rate limit filter. */
export const RATE_LIMITS_MUTANTS = [
  ...mutantsOf("src/envoy/rate-limit-service.ts", SERVICE, [
    {
      name: "an id without a key has no limits",
      search: "limits: [ownLimit(NOTHING)] };",
      replacement: "limits: [] };",
      why: "a client that makes an id up is without limits",
    },
    {
      name: "limits of the file before those of the request",
      search: "override ?? figuresOf(rules, domain, entries)",
      replacement: "figuresOf(rules, domain, entries) ?? override",
      why: "a route can't have its own figure",
    },
    {
      name: "a key's own limits replaced by those of the request",
      search: "limits: [ownLimit(figures), ...named(override)]",
      replacement: "limits: override ? named(override) : [ownLimit(figures)]",
      why: "a route lets a key do more than its tier",
    },
    {
      name: "a key that can't be read is without limits",
      search: 'if (load.status === "rejected") throw load.reason;',
      replacement: 'if (load.status === "rejected") continue;',
      why: "an outage of the database is an answer about the key",
    },
  ]),
  ...mutantsOf("src/envoy/rate-limit-answer.ts", SERVICE, [
    {
      name: "OK if one descriptor has room",
      search: "overallCode: denied.length === 0 ?",
      replacement: "overallCode: denied.length < decisions.length ?",
      why: "a request passes that is over one of its limits",
    },
    {
      name: "a degraded answer looks like any other",
      search: "{ dynamicMetadata: { degraded: true } }",
      replacement: "{}",
      why: "operators can't see in Envoy that limits are shares",
    },
    {
      name: "a time to retry where no wait helps",
      search: "retryAfterMs ?? Number.POSITIVE_INFINITY",
      replacement: "retryAfterMs ?? 1000",
      why: "a client tries for ever what never fits",
    },
  ]),
  ...mutantsOf("src/envoy/rate-limit-descriptors.ts", DESCRIPTORS, [
    {
      name: "the domain is no part of the subject",
      search: 'const name = [encoded(domain), ...parts].join("/");',
      replacement: 'const name = ["", ...parts].join("/");',
      why: "one gateway uses up the limits of another",
    },
    {
      name: "values as they are",
      search: "`${encoded(key)}=${encoded(value)}`",
      replacement: "`${encoded(key)}=${value}`",
      why: "a client writes another descriptor into its value",
    },
    {
      name: "long names cut",
      search: 'name : `#${hash("sha256", name, "base64url")}`',
      replacement: "name : name.slice(0, MAX_SUBJECT_NAME_BYTES)",
      why: "clients with long values share their windows",
    },
    {
      name: "bytes that are no UTF-8 are all the same",
      search: "  if (text.isWellFormed()) return encodeURIComponent(text);\n",
      replacement: "  return encodeURIComponent(text.toWellFormed());\n",
      why: "clients with such values share their windows",
    },
    {
      name: "hits of 0 are free",
      search: "hits === 0n ? 1 :",
      replacement: "hits === 0n ? 0 :",
      why: "a request for nothing is always allowed",
    },
    {
      name: "the request's hits before the descriptor's",
      search: "costOf(hitsAddend ?? BigInt(request.hitsAddend))",
      replacement: "costOf(BigInt(request.hitsAddend) || (hitsAddend ?? 0n))",
      why: "a dear descriptor counts as a cheap one",
    },
    {
      name: "negative hits are positive ones",
      search: "  if (isNegativeHits) {",
      replacement: "  if (false) {",
      why: "what should be given back is counted once more",
    },
  ]),
  ...mutantsOf("src/envoy/rate-limit-rules.ts", RULES, [
    {
      name: "any value fits",
      search: "value === undefined || value === entries[at]!.value",
      replacement: "value === undefined || value !== entries[at]!.value",
      why: "the limit of one path is that of all others",
    },
    {
      name: "an hour is a day",
      search: 'const UNITS = ["MINUTE", "DAY"];',
      replacement: 'const UNITS = ["MINUTE", "DAY", "HOUR"];',
      why: "a limit is in the file and limits nothing",
    },
    {
      name: "limits that never apply are fine",
      search: "sameKeys.some((earlier) => covers(earlier, rule))",
      replacement: "sameKeys.length > 99",
      why: "an operator believes in a limit that does nothing",
    },
  ]),
];
