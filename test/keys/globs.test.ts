import fc from "fast-check";
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
    ["/a*b*c", "/abc", true],
    ["/ab*ba", "/aba", false],
    ["/*aab*", "/xaaab", true],
    ["/*abab*c", "/ababab/c", false],
    ["/*abac*c", "/abababac-c", true],
    ["/a*bb*b", "/abbb", true],
    ["/a*bb*b", "/abb", false],
    ["/a/*", "/a", false],
    ["/*", "/a/b", false],
    ["/**", "", false],
  ])("%s and %s: %s", (glob, method, matches) => expect(matchesMethod([glob], method)).toBe(matches));

  it.each(["/a/**/b", "/a**", "**", "/a/***", "", "/with space", "/é", `/${"a".repeat(256)}`])(
    "%s is refused",
    (glob) => expect(methodGlobFault(glob)).toBeDefined(),
  );

  it("match what a regular expression says", () => {
    const letters = fc.constantFrom("a", "b", "*", "/");
    const glob = fc.array(letters, { minLength: 1, maxLength: 12 }).map((all) => `/${all.join("")}`);
    const method = fc.array(fc.constantFrom("a", "b", "/"), { minLength: 1, maxLength: 14 });
    fc.assert(
      fc.property(
        glob,
        method.map((all) => `/${all.join("")}`),
        (glob, method) => {
          fc.pre(methodGlobFault(glob) === undefined && !method.includes("//") && !method.endsWith("/"));
          const pattern = glob.replace(/\*\*$/, ".+").replaceAll("*", "[^/]*");
          expect(matchesMethod([glob], method)).toBe(new RegExp(`^${pattern}$`).test(method));
        },
      ),
      { numRuns: 5_000 },
    );
  });

  it("take as long as they are, however slow their owner wants them to be", () => {
    const quickest = (globs: readonly string[], method: string) => {
      const times = Array.from({ length: 30 }, () => {
        const startMs = performance.now();
        expect(matchesMethod(globs, method)).toBe(false);
        return performance.now() - startMs;
      });
      return Math.min(...times);
    };
    const many = (text: (n: number) => string) => Array.from({ length: 64 }, (_, n) => text(n));
    const plainMs = quickest(
      many((n) => `/${"a".repeat(190)}*${n}`),
      `/${"a".repeat(1000)}`,
    );
    for (const slow of [
      many((n) => `/*${"a".repeat(180)}${n}*`),
      many((n) => `/${"a*".repeat(90)}${n}`),
      many((n) => `/*${"a".repeat(90)}b*${"a".repeat(80)}${n}*`),
    ]) {
      // Thirty times as long, all in all; the product of both lengths is two thousand times.
      expect(quickest(slow, `/${"a".repeat(1000)}`)).toBeLessThan(200 * plainMs);
    }
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
