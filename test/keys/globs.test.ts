import { describe, expect, it } from "vitest";
import { matchesMethod, matchesScope, methodGlobFault } from "../../src/keys/globs.ts";

describe("globs of methods", () => {
  it.each([
    ["/shop.v1.Orders/Get", "/shop.v1.Orders/Get", true],
    ["/shop.v1.Orders/Get", "/shop.v1.Orders/get", false],
    ["/shop.v1.Orders/*", "/shop.v1.Orders/Get", true],
    ["/shop.v1.Orders/*", "/shop.v1.Orders/a/b", false],
    ["/shop.v1.Orders/*", "/shop.v1.Orders/", false],
    ["/*/Get*", "/shop.v1.Orders/GetOrder", true],
    ["/**", "/shop.v1.Orders/Get", true],
    ["/shop/**", "/shop/a/b/c", true],
    ["/shop/**", "/shop", false],
    ["/shop/**", "/shopping/a", false],
    ["/shop/**", "/shop//a", false],
    ["/shop/**", "/shop/./a", false],
    ["/shop/**", "/shop/../admin", false],
    ["/shop/**", "/shop/%2e%2e/admin", false],
    ["/shop/**", "/shop/a%2Fb", false],
    ["/shop/**", "/shop/..;/admin", false],
    ["/shop/**", "/shop/;a=1/b", false],
    ["/shop/**", "/shop/a;b=1/c", true],
    ["orders.*", "orders.get", true],
    ["orders.*", "/orders.get", false],
    ["/a*b*c", "/aXbYbZc", true],
    ["/a*b*c", "/aXbYbZ", false],
    ["/**", "", false],
  ])("%s and %s: %s", (glob, method, matches) => expect(matchesMethod(glob, method)).toBe(matches));

  it.each(["/a/**/b", "/a**", "**", "/a/***", "", "/with space", "/é", `/${"a".repeat(256)}`])(
    "%s is refused",
    (glob) => expect(methodGlobFault(glob)).toBeDefined(),
  );

  it("stays quick on globs and methods that are made to be slow", () => {
    const started = process.hrtime.bigint();
    expect(matchesMethod(`/${"a*".repeat(120)}b`, `/${"a".repeat(1000)}`)).toBe(false);
    expect(Number(process.hrtime.bigint() - started) / 1e6).toBeLessThan(250);
  });
});

describe("globs of scopes", () => {
  it.each([
    ["*", "anything:at/all", true],
    ["orders:*", "orders:read", true],
    ["orders:*", "orders", false],
    ["*:read", "orders:read", true],
    ["*:read", "orders:reader", false],
    ["orders:read", "orders:read", true],
  ])("%s and %s: %s", (glob, scope, matches) => expect(matchesScope(glob, scope)).toBe(matches));
});
