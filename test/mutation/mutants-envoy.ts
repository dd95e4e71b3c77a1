import { mutantsOf } from "./tested-mutant.ts";

const CHECK = ["test/rpc/ext-authz.test.ts"];
const JUDGEMENT = ["test/envoy/judgement.test.ts", ...CHECK];
const SETTINGS = ["test/envoy/route-settings.test.ts"];
const REQUEST = ["test/envoy/checked-request.test.ts"];

/** Envoy's door. */
export const ENVOY_MUTANTS = [
  ...mutantsOf("src/envoy/identity.ts", CHECK, [
    {
      name: "forged facts stay",
      search: "const removed = HEADERS.filter((header) => !isSet(header));",
      replacement: "const removed: string[] = [];",
      why: "a client writes the facts that its key does not have",
    },
    {
      name: "invented names stay",
      search: "if (!HEADERS.includes(name) && REMOVABLE.test(name)) removed.push(name);",
      replacement: "if (HEADERS.includes(name) && !isSet(name)) removed.push(name);",
      why: "a client writes facts in spellings that an upstream takes for ours",
    },
    {
      name: "facts are removed after they were set",
      search: "if (!HEADERS.includes(name) && REMOVABLE.test(name)) removed.push(name);",
      replacement: "if (REMOVABLE.test(name)) removed.push(name);",
      why: "a client that sends x-latchkey-key-id takes its own identity from the upstream",
    },
    {
      name: "the bearer stays",
      search: 'if (presentedToken((name) => request.values(name)).kind !== "none") removed.push("authorization");',
      replacement: "",
      why: "the upstream gets the credential",
    },
    {
      name: "the key stays",
      search: "if (name.length === KEY_HEADER.length) removed.push(name);",
      replacement: "if (name.length > KEY_HEADER.length) removed.push(name);",
      why: "the upstream gets the credential",
    },
    {
      name: "all scopes of the key",
      search: 'add("scopes", effectiveScopes(key, owner).join(" "));',
      replacement: 'add("scopes", key.scopes.join(" ") + (owner === undefined ? effectiveScopes(key, owner) : ""));',
      why: "the upstream believes scopes that the owner's grant no longer covers",
    },
  ]),
  ...mutantsOf("src/envoy/judgement.ts", JUDGEMENT, [
    {
      name: "the peer for a missing header",
      search: "return values.length === 1 ? clientAddress(values[0]!.trim()) : undefined;",
      replacement: "return clientAddress(values.length === 1 ? values[0]!.trim() : request.peerAddress);",
      why: "a client without the header has its proxy's address, which may be in an allow-list",
    },
    {
      name: "the first of two addresses",
      search: "return values.length === 1 ? clientAddress(values[0]!.trim()) : undefined;",
      replacement: "return values.length >= 1 ? clientAddress(values[0]!.trim()) : undefined;",
      why: "a client adds an address before its proxy does",
    },
    {
      name: "gRPC by content type alone",
      search: 'return request.verb === "POST" && isGrpc(request) ? method?.slice("POST ".length) : method;',
      replacement: 'return isGrpc(request) ? method?.slice("POST ".length) : method;',
      why: "a client chooses how its method is named, and a GET is cut in the wrong place",
    },
    {
      name: "no verdict is a refusal",
      search: 'if (error instanceof DomainError && error.reason === "CREDENTIAL_INVALID")',
      replacement: "if (error instanceof DomainError)",
      why: "an outage tells people that their tokens are not valid",
    },
    {
      name: "any text may be a person's",
      search: 'const isToken = text.includes(".") && presentedToken(values).kind === "one";',
      replacement: 'const isToken = presentedToken(values).kind === "one";',
      why: "a key as Bearer is refused on a route for both",
    },
  ]),
  ...mutantsOf("src/envoy/route-settings.ts", SETTINGS, [
    {
      name: "other spellings are another program's",
      search: "const OURS = /^latchkey/i;",
      replacement: "const OURS = /^latchkey\\./;",
      why: "a route with a mistyped setting asks for nothing",
    },
    {
      name: "an unknown setting is ignored",
      search: 'return "is no setting";',
      replacement: "return undefined;",
      why: "a route with a mistyped setting asks for nothing",
    },
    {
      name: "no scopes",
      search: 'return draft[setting].length === 0 ? "must not be empty" : undefined;',
      replacement: "return undefined;",
      why: "a template that wrote nothing opens a route",
    },
    {
      name: "X-Forwarded-For",
      search: 'if (!NO_ADDRESS.has(draft.addressHeader.replaceAll("_", "-"))) return undefined;',
      replacement: "if (draft.addressHeader !== setting) return undefined;",
      why: "clients choose their address",
    },
    {
      name: "scopes of people",
      search: "if (ofKeys !== undefined) faults.push(",
      replacement: 'if (ofKeys !== undefined && ofKeys[0] === "") faults.push(',
      why: "an operator believes that people need scopes",
    },
  ]),
  ...mutantsOf("src/envoy/message-fields.ts", REQUEST, [
    {
      name: "a message ends anywhere",
      search: "if (said === SKIP) reader.skip(wire, field);\n    else if",
      replacement: "if",
      why: "bytes of fields that a check skips are read as others",
    },
  ]),
  ...mutantsOf("src/envoy/check-response.ts", CHECK, [
    {
      name: "an appended fact",
      search: "const OVERWRITE_IF_EXISTS_OR_ADD = 2;",
      replacement: "const OVERWRITE_IF_EXISTS_OR_ADD = 0;",
      why: "the upstream gets a client's fact beside ours",
    },
    {
      name: "no status for gRPC",
      search: 'const headers: Header[] = [["grpc-status", String(CODES[code])], ...metadata];',
      replacement: "const headers: Header[] = code === undefined ? [] : [...metadata];",
      why: "Envoy makes UNAVAILABLE of 429, and clients try again at once",
    },
  ]),
];
