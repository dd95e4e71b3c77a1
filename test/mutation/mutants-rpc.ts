import { mutantsOf } from "./tested-mutant.ts";

const ACCESS = ["test/rpc/access.test.ts"];
const CALLER = ["test/rpc/caller.test.ts"];
const CLIENT_IP = ["test/rpc/client-ip.test.ts"];
const PAGES = ["test/rpc/page-token.test.ts"];

/** The front door. */
export const RPC_MUTANTS = [
  ...mutantsOf("src/rpc/access.ts", ACCESS, [
    {
      name: "anyone verifies",
      search: "verifyKey: VERIFIER,",
      replacement: "verifyKey: ANYONE,",
      why: "whoever finds a key learns what it opens, and uses its limits up",
    },
    {
      name: "managers reset passwords",
      search: "createPasswordReset: ADMIN,",
      replacement: 'createPasswordReset: { scopes: ["manage"] },',
      why: "a service that issues keys takes over accounts",
    },
    {
      name: "people everywhere",
      search: 'if (!rule.user) throw new DomainError("ACCESS_DENIED", lacksScope(rule));',
      replacement: "",
      why: "each person is an operator",
    },
    {
      name: "manage includes the others",
      search: 'held.includes("admin"))',
      replacement: 'held.includes("manage"))',
      why: "a service that issues keys administers the service",
    },
    {
      name: "admin is also every person",
      search: '(wanted.length > 0 && held.includes("admin"))',
      replacement: 'held.includes("admin")',
      why: "a credential reaches methods that need a person, and fails as an internal error",
    },
  ]),
  ...mutantsOf("src/rpc/calls/caller.ts", CALLER, [
    {
      name: "the first of two credentials",
      search: 'if (values.length > 1) throw invalid("more than one authorization header");',
      replacement: "",
      why: "a proxy judges one of them, and the service the other",
    },
    {
      name: "a header that is no credential is nobody",
      search: "if (token === undefined) throw malformed();",
      replacement: "if (token === undefined) return ANONYMOUS;",
      why: "a caller with a broken credential goes on without one",
    },
  ]),
  ...mutantsOf("src/rpc/calls/caller.ts", CALLER, [
    {
      name: "credentials judged once a connection",
      search: "const fault = databaseClock.judge(",
      replacement: "const fault = known.key !== undefined ? undefined : databaseClock.judge(",
      why: "who was revoked stays as long as the connection",
    },
    {
      name: "all credentials of a connection are one",
      search: 'hash("sha256", authorization, "base64url")',
      replacement: 'hash("sha256", authorization.slice(0, 16), "base64url")',
      why: "behind a proxy each service acts as the first one",
    },
    {
      name: "credentials remembered without a bound",
      search: " || remembered.size >= MAX_REMEMBERED",
      replacement: "",
      why: "one connection fills the memory",
    },
  ]),
  ...mutantsOf("src/rpc/calls/client-ip.ts", CLIENT_IP, [
    {
      name: "anybody's word for his address",
      search: "if (!this.#isTrusted(peer)) {",
      replacement: 'if (peer === "") {',
      why: "allow-lists and throttles go by what the caller invents",
    },
    {
      name: "hops behind a stranger believed",
      search: "      if (!this.#isTrusted(address)) break;\n",
      replacement: "",
      why: "the leftmost hop is what the caller invents",
    },
    {
      name: "a dual-stack socket's address is IPv6",
      search: "return normalizeIp(address) ?? address;",
      replacement: "return address;",
      why: "trusted proxies are strangers, and IPv4 clients share one network",
    },
    {
      name: "a hop that is no address is skipped",
      search: "if (hop === undefined) break;",
      replacement: "if (hop === undefined) continue;",
      why: "what stands left of it is believed",
    },
    {
      name: "of two headers that disagree the first is believed",
      search: "if (address === other) return address;",
      replacement: "if (other !== undefined) return address;",
      why: "a client sends the header that its proxy does not write",
    },
    {
      name: "the header that was not set is read too",
      search: "forwardedHeader === undefined || name === forwardedHeader",
      replacement: "name.length > 0",
      why: "a client sends the header that its proxy does not write",
    },
  ]),
  ...mutantsOf("src/rpc/calls/forwarded.ts", CLIENT_IP, [
    {
      name: "lines read from the first",
      search: "values.toReversed()",
      replacement: "values",
      why: "the first line is what the caller invents",
    },
    {
      name: "two addresses in one hop",
      search: "    if (found !== undefined) return undefined;\n",
      replacement: "",
      why: "which of them is meant is a guess",
    },
    {
      name: "blanks that match in two places",
      search: '[^\\s",;]+)[ \\t]*)?(?:;|$)/y',
      replacement: '[^\\s",;]+))?[ \\t]*(?:;|$)/y',
      why: "one header of 15,000 blanks occupies the process for a second",
    },
  ]),
  ...mutantsOf("src/rpc/handlers/page-token.ts", PAGES, [
    {
      name: "one nonce for all page tokens",
      search: "const nonce = randomBytes(NONCE_BYTES);",
      replacement: "const nonce = Buffer.alloc(NONCE_BYTES);",
      why: "GCM gives its texts and its own key away where a nonce is used twice",
    },
    {
      name: "page tokens for any caller",
      search: "JSON.stringify([method, callerId(caller), filter])",
      replacement: "JSON.stringify([method, filter])",
      why: "a position in another's list is accepted",
    },
    {
      name: "page tokens for any method",
      search: "JSON.stringify([method, callerId(caller), filter])",
      replacement: "JSON.stringify([callerId(caller), filter])",
      why: "a position in one list is one in another",
    },
    {
      name: "page tokens for any filter",
      search: "JSON.stringify([method, callerId(caller), filter])",
      replacement: "JSON.stringify([method, callerId(caller)])",
      why: "pages that skip or repeat",
    },
    {
      name: "pages of any size",
      search: "Math.min(requested, MAX_SIZE)",
      replacement: "requested",
      why: "one call reads a whole table",
    },
    {
      name: "page tokens in many spellings",
      search: ' && bytes.toString("base64url") === token',
      replacement: "",
      why: "junk behind a token is ignored",
    },
    {
      name: "page tokens opened with the newest key only",
      search: "bytes.readUInt16BE()",
      replacement: "this.#ring.current",
      why: "a rotation of the master key breaks lists that are being read",
    },
  ]),
  ...mutantsOf("src/rpc/handlers/field-mask.ts", PAGES, [
    {
      name: "unknown paths ignored",
      search: "if (!(writable as readonly string[]).includes(path)) {",
      replacement: 'if (path === "*") {',
      why: "a typing error in the mask looks like a change that was made",
    },
    {
      name: "a mask of nothing changes nothing and says so to nobody",
      search: "if (paths.length === 0) {",
      replacement: "if (paths.length < 0) {",
      why: "a client that forgot it believes in its update",
    },
  ]),
  ...mutantsOf(
    "src/rpc/errors.ts",
    ["test/rpc/errors.test.ts"],
    [
      {
        name: "internal faults in their own words",
        search: 'error.reason === "INTERNAL" ? INTERNAL_TEXT : boundedText(error.message)',
        replacement: "boundedText(error.message)",
        why: "a statement or a secret goes out with an error",
      },
      {
        name: "a database that is away looks like a bad credential",
        search: 'DATABASE_UNAVAILABLE: row("UNAVAILABLE"',
        replacement: 'DATABASE_UNAVAILABLE: row("UNAUTHENTICATED"',
        why: "clients throw good credentials away",
      },
      {
        name: "a refusal that looks like an outage",
        search: 'CREDENTIAL_INVALID: row("UNAUTHENTICATED"',
        replacement: 'CREDENTIAL_INVALID: row("UNAVAILABLE"',
        why: "clients try a bad credential for ever",
      },
      {
        name: "Retry-After rounded down",
        search: "Math.max(1, Math.ceil(retryAfterMs / 1000))",
        replacement: "Math.max(1, Math.floor(retryAfterMs / 1000))",
        why: "who comes back when told to is refused again",
      },
      {
        name: "our deadline told as the client's own end",
        search: "if (error.cause instanceof DomainError) return error.cause;",
        replacement: "",
        why: "whether to try again can't be told",
      },
    ],
  ),
  ...mutantsOf(
    "src/rpc/handlers/key-messages.ts",
    ["test/rpc/verify-key.test.ts"],
    [
      {
        name: "calls without a cost are free",
        search: "cost: request.cost ?? 1,",
        replacement: "cost: request.cost ?? 0,",
        why: "no limit holds for who does not name a cost",
      },
    ],
  ),
  ...mutantsOf(
    "src/rpc/handlers/verdict-encoding.ts",
    ["test/rpc/verdict-encoding.test.ts"],
    [
      {
        name: "a key shown as it was when it was read",
        search: "if (record.shown?.state === state) return record.shown.latin1;",
        replacement: "if (record.shown !== undefined) return record.shown.latin1;",
        why: "an expired key is shown as active beside the verdict EXPIRED",
      },
      {
        name: "every verdict is valid",
        search: 'writer.bool(1, verdict.verdict === "valid");',
        replacement: 'writer.bool(1, verdict.verdict !== "invalid");',
        why: "clients decide by valid: revoked keys are let in",
      },
    ],
  ),
];
