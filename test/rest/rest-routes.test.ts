import { describe, expect, it } from "vitest";
import { RestRoutes } from "../../src/rpc/rest/rest-routes.ts";
import { type ProbeRule, probeRoutes } from "../support/probe-contract.ts";

const ROUTES = new RestRoutes(
  probeRoutes(
    { get: "/v1/probes" },
    { post: "/v1/probes", body: "*" },
    { get: "/v1/probes/{name}" },
    { delete: "/v1/probes/{name}" },
    { patch: "/v1/inner-probes/{inner.id}", body: "inner" },
    { post: "/v1/probes/{name}:rotate", body: "*" },
    { post: "/v1/probes:verify", body: "*" },
    { put: "/v1/admin/probes", body: "*" },
  ),
);

/** The methods of a path's resource, and the values in the path. */
function found(path: string) {
  const { resource, values } = ROUTES.find(path) ?? {};
  return resource && [[...resource.methods.keys()].sort().join(), values];
}

describe("a path", () => {
  it.each([
    ["/v1/probes", "GET,HEAD,POST", []],
    ["/v1/probes/p1", "DELETE,GET,HEAD", ["p1"]],
    ["/v1/probes/a%2Fb", "DELETE,GET,HEAD", ["a%2Fb"]],
    ["/v1/probes/..", "DELETE,GET,HEAD", [".."]],
    ["/v1/probes/a%3Arotate", "DELETE,GET,HEAD", ["a%3Arotate"]],
    ["/v1/probes/p1:rotate", "POST", ["p1"]],
    ["/v1/probes/a:b:rotate", "POST", ["a:b"]],
    ["/v1/probes:verify", "POST", []],
    ["/v1/inner-probes/p1", "PATCH", ["p1"]],
    ["/v1/admin/probes", "PUT", []],
  ])("%s is found", (path, methods, values) => {
    expect(found(path)).toEqual([methods, values]);
  });

  it.each([
    "/",
    "/v1",
    "/v1/",
    "/v1/probes/",
    "/v1//probes",
    "/v1/probes//p1",
    "//v1/probes",
    "/v1/./probes",
    "/v1/probes/p1/",
    "/v1/probes/p1/more",
    "/v1/Probes",
    "/v1/probe%73",
    "/v1/probes:",
    "/v1/probes/p1:",
    "/v1/probes/:rotate",
    "/v1/probes:Verify",
    "/v1/probes/p1:verify",
    "/v1/probes/p1:rotate/",
    "/v1/probes:constructor",
    "/v1/__proto__",
    "/v1/probes;x",
    "/v1/probes#x",
    `/v1/probes/${"x".repeat(1024)}`,
  ])("%.40s is unknown", (path) => {
    expect(found(path)).toBeUndefined();
  });

  it("of the maximum length with only slashes or colons takes no longer than its length", () => {
    for (const one of ["/", ":", "/v1/probes/", "%"]) {
      const path = `/v1/${one.repeat(1020)}`.slice(0, 1024);
      expect(found(path)).toBeUndefined();
    }
  });
});

it("`Allow` names the methods of a resource", () => {
  expect(ROUTES.find("/v1/probes")!.resource.allow.split(", ").sort()).toEqual(["GET", "HEAD", "OPTIONS", "POST"]);
});

describe("the start stops for", () => {
  const cases: [string, ProbeRule[], RegExp][] = [
    ["two RPCs with one path", [{ get: "/v1/a" }, { get: "/v1/a" }], /GET \/v1\/a belongs to .*Probe0 and to .*Probe1/],
    ["paths that differ in a variable's name", [{ get: "/v1/{name}" }, { get: "/v1/{inner.id}" }], /belongs to/],
    ["a variable beside a text", [{ get: "/v1/a" }, { get: "/v1/{name}" }], /ambiguous/],
    ["a text beside a variable", [{ get: "/v1/{name}/b" }, { get: "/v1/a/b" }], /ambiguous/],
    ["a wildcard", [{ get: "/v1/{name=a/*}" }], /is not a path/],
    ["a path that ends with a slash", [{ get: "/v1/a/" }], /is not a path/],
    ["a path that is not complete", [{ get: "v1/a" }], /is not a path/],
    ["a variable without a field", [{ get: "/v1/{nome}" }], /not a scalar field/],
    ["a variable that is a list", [{ get: "/v1/{tags}" }], /not a scalar field/],
    ["a variable that is a message", [{ get: "/v1/{inner}" }], /not a scalar field/],
    ["a variable in a oneof", [{ get: "/v1/{left}" }], /not a scalar field/],
    ["a variable behind a list", [{ get: "/v1/{inners.id}" }], /not a scalar field/],
    ["a body that is a text", [{ post: "/v1/a", body: "name" }], /not a message/],
    ["a body without a field", [{ post: "/v1/a", body: "nome" }], /not a message/],
    ["GET with a body", [{ get: "/v1/a", body: "*" }], /takes no body/],
    ["DELETE with a body", [{ delete: "/v1/a", body: "inner" }], /takes no body/],
    ["a part of the response", [{ get: "/v1/a", responseBody: "inner" }], /not supported/],
    ["a second path", [{ get: "/v1/a", additionalBindings: [{ get: "/v1/b" }] }], /not supported/],
    ["a method of its own", [{ custom: { kind: "LOCK", path: "/v1/a" } }], /not supported/],
    ["a stream", [{ get: "/v1/a", stream: true }], /a stream has no REST/],
  ];
  it.each(cases)("%s", (_name, rules, text) => {
    expect(() => new RestRoutes(probeRoutes(...rules))).toThrow(text);
  });
});
