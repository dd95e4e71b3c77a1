import { mutantsOf } from "./tested-mutant.ts";

const LANE = ["test/rest/rest-lane.test.ts"];
const MESSAGES = ["test/rest/request-message.test.ts"];
const ROUTES = ["test/rest/rest-routes.test.ts"];
const ANSWERS = ["test/rest/contract.test.ts"];

/** The lane of plain HTTP and JSON. */
export const REST_MUTANTS = [
  ...mutantsOf("src/rpc/rest/parameters.ts", MESSAGES, [
    {
      name: "a query beside a whole body",
      search: 'if (pairs.length > 0 && body.kind === "whole") {',
      replacement: 'if (pairs.length > 99_999 && body.kind === "whole") {',
      why: "clients put keys into URLs, where proxies log them",
    },
    {
      name: "the body's id wins",
      search: "if (isSet(inBody) && inBody !== valueAt(message, parameter.fields)) {",
      replacement: "if (isSet(inBody) && inBody === undefined) {",
      why: "a proxy that judges the path lets a change of another key pass",
    },
    {
      name: "the last of two values",
      search: "if (names.some((name) => seen.has(name))) throw",
      replacement: "if (names.every((name) => !name)) throw",
      why: "a proxy judges one of them, and the service the other",
    },
    {
      name: "the query sets what the path says",
      search: "elsewhere.has(pathOfFields(fields)) ||",
      replacement: "",
      why: "a proxy that judges the path lets a read of another key pass",
    },
    {
      name: "a plus is a blank",
      search: "return decodeURIComponent(text);",
      replacement: 'return decodeURIComponent(text.replaceAll("+", " "));',
      why: "an account whose address has a plus is never found",
    },
  ]),
  ...mutantsOf("src/rpc/rest/request-message.ts", LANE, [
    {
      name: "any type of body",
      search: "!MEDIA_TYPE.test(types[0]!)",
      replacement: "types[0] === undefined",
      why: "a web page of any origin sends requests without asking first",
    },
    {
      name: "a body that nothing judges",
      search: 'if (body.kind === "none") throw',
      replacement: "if (length < 0) throw",
      why: "a client believes that its body was read",
    },
    {
      name: "a body of any size",
      search: "if (length > call.route.maxRequestBytes) throw",
      replacement: "if (length > 2 ** 30) throw",
      why: "one client fills the memory",
    },
  ]),
  ...mutantsOf("src/rpc/rest/rest-routes.ts", ROUTES, [
    {
      name: "ambiguous paths",
      search: "if (isVariable ? node.literals.size > 0 : node.variable !== undefined) {",
      replacement: "if (isVariable && segments.length === 0) {",
      why: "which RPC a path names depends on the order of the contract",
    },
    {
      name: "an empty id",
      search: 'node = segment === "" ? undefined : node.variable;',
      replacement: "node = node.variable;",
      why: "a path with a slash too many names another resource",
    },
    {
      name: "paths of any length",
      search: "if (path.length > MAX_PATH_LENGTH) return undefined;",
      replacement: "",
      why: "ids of any length reach the handlers",
    },
  ]),
  ...mutantsOf("src/rpc/rest/rest-lane.ts", LANE, [
    {
      name: "the body before the credential",
      search:
        "  await concerns.admit(call);\n  const parameters = readParameters(route, values, query);\n  const body = await readBody(concerns, call, request, route);\n",
      replacement:
        "  const parameters = readParameters(route, values, query);\n  const body = await readBody(concerns, call, request, route);\n  await concerns.admit(call);\n",
      why: "anyone makes the service read bodies",
    },
    {
      name: "the log has the path",
      search: "`${request.method} ${template.text}`",
      replacement: "`${request.method} ${request.url}`",
      why: "keys that people paste into URLs are logged",
    },
    {
      name: "answers that may be cached",
      search: '["cache-control", "no-store"],',
      replacement: "",
      why: "a proxy keeps a raw key",
    },
    {
      name: "a client that is gone is served",
      search: "exchange.onGone(() => concerns.cancel(call));",
      replacement: "",
      why: "abandoned calls take their caller's share until their deadline",
    },
  ]),
  ...mutantsOf("src/rpc/rest/rest-answer.ts", ANSWERS, [
    {
      name: "401 without a challenge",
      search: "if (code === 401) fields.push(",
      replacement: "if (code === 499) fields.push(",
      why: "HTTP clients do not know which credential is wanted",
    },
  ]),
  ...mutantsOf("src/rpc/rest/http-status.ts", ANSWERS, [
    {
      name: "an outage looks like a refusal",
      search: "UNAVAILABLE: 503,",
      replacement: "UNAVAILABLE: 403,",
      why: "clients tell their callers that a good key is bad",
    },
  ]),
];
