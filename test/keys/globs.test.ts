import { posix } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { matchesMethod, matchesScope, methodGlobFault } from "../../src/keys/globs.ts";
import { quickestMs } from "../support/quickest.ts";

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
    ["/shop/**", "/shop/a;b=1/c", false],
    ["/**", "/grpc.health.v1.Health/Check", true],
    ["/grpc.health.v1.*/Check", "/grpc.health.v1.Health/Check", true],
    ["/users/*/keys", "/users/ann%40example.com/keys", true],
    ["/users/*/keys", "/users/ann%20b/keys", true],
    ["/files/a%20b", "/files/a%20b", true],
    ["/files/a%20b", "/files/a b", false],
    ["/files/*8", "/files/secret%78", false],
    ["/files/*x", "/files/secret%78", false],
    ["/files/*%78", "/files/secret%78", true],
    ["/files/*%2a", "/files/a%2a", true],
    ["/files/*%2a", "/files/ab", false],
    ["/files/*", "/files/...", false],
    ["/files/*", "/files/a?b", false],
    ["/files/*", "/files/a#b", false],
    ["/files/*", "/files/a\\b", false],
    ["/files/*", "/files/%20", false],
    ["/files/*", "/files/a%20", false],
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
    ["GET /orders/*", "GET /orders/7", true],
    ["GET /orders/*", "POST /orders/7", false],
    ["GET /orders/*", "/orders/7", false],
    ["/orders/*", "GET /orders/7", true],
    ["/orders/*", "get /orders/7", false],
    ["GET /orders/*", "GET /orders/a/../7", false],
    ["GET /orders/**", "GET GET /orders/7", false],
  ])("%s and %s: %s", (glob, method, matches) => expect(matchesMethod([glob], method)).toBe(matches));

  it.each([
    ...["/a/**/b", "/a**", "**", "/a/***", "", "/with space", "/é", `/${"a".repeat(256)}`],
    ...["/", "/a/", "/a//b", "//**", "/./a", "/a/..", "/a/.../b", "/a/%20", "/a/b%20", "a/", "/a/;b", "/a;b=*/c"],
    ...["/a?b", "/a#b", "/a\\b", "/a%2Fb", "/a%2e*", "/a%5c", "/a%3b", "/a%3F", "/a%23", "/a%25", "/a%252f", "/a%"],
    ...["/a%2", "/a%u002f", "/a%00", "/a%0a", "/a%7f", "/a%80", "/a%c0%af", "/a%ef%bc%8f", "/a%*", '/a"b', "/a{b}"],
    ...["get /a", "GET  /a", "GET a", "GET GET /a", "GET /a//b", "* /a"],
  ])("%s is refused", (glob) => expect(methodGlobFault(glob)).toBeDefined());

  it.each([
    ...["/shop.v1.Orders/Get", "/**", "/*", "/shop/**", "orders.*", "/a/.*", "/a/*.json", "/a%20b/*", "/a%41", "/*/*"],
    ...["GET /orders/**", "PROPFIND /a"],
    ...["/v1/users:batchGet", "/a/b=c,d&e+f'(g)!$@~"],
  ])("%s is accepted", (glob) => expect(methodGlobFault(glob)).toBeUndefined());

  it("match the same as a regular expression", () => {
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

  it("take time linear in their length, even if they are made to be slow", () => {
    const quickest = (globs: readonly string[], method: string) =>
      quickestMs(() => expect(matchesMethod(globs, method)).toBe(false));
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
      // Measured: thirty times as long in total. The product of both lengths would be two thousand times.
      expect(quickest(slow, `/${"a".repeat(1000)}`)).toBeLessThan(500 * plainMs);
    }
  });
});

/** The ways in which other servers read a path. A reading that throws stands for a server that refuses the path. */
const READINGS: Readonly<Record<string, (path: string) => string>> = {
  "as it is": (path) => path,
  "by the WHATWG URL parser": (path) => new URL(`http://h${path}`).pathname,
  "by that parser, decoded before": (path) => new URL(`http://h${decodeURIComponent(path)}`).pathname,
  "decoded once": decodeURIComponent,
  "decoded twice": (path) => decodeURIComponent(decodeURIComponent(path)),
  "decoded by pieces, invalid escapes kept": (path) =>
    path.replace(/%[0-9a-f]{2}/gi, (escaped) => Buffer.from(escaped.slice(1), "hex").toString("latin1")),
  "with %u escapes": (path) =>
    path.replace(/%u([0-9a-f]{4})/gi, (_, code) => String.fromCharCode(Number.parseInt(code, 16))),
  "with overlong UTF-8": (path) =>
    path.replace(/%c([01])%([89ab])([0-9a-f])/gi, (_, high, low, rest) =>
      String.fromCharCode(
        ((Number(high) & 3) << 6) | ((Number.parseInt(low, 16) & 3) << 4) | Number.parseInt(rest, 16),
      ),
    ),
  "in compatibility form": (path) => decodeURIComponent(path).normalize("NFKC"),
  "without parameters": (path) => decodeURIComponent(path).replace(/;[^/]*/g, ""),
  "with backslashes as slashes": (path) => decodeURIComponent(path).replaceAll("\\", "/"),
  "up to a NUL": (path) => decodeURIComponent(path).replace(/\0.*/s, ""),
  "trimmed in each segment": (path) =>
    decodeURIComponent(path)
      .split("/")
      .map((segment) => segment.trim())
      .join("/"),
  "with dots resolved": (path) => posix.normalize(decodeURIComponent(path)),
};

function readingsOf(path: string): [how: string, read: string][] {
  return Object.entries(READINGS).flatMap(([how, read]) => {
    try {
      return [[how, read(path)]];
    } catch {
      return [];
    }
  });
}

/**
 * Whether a regular expression matches a plain path. Escapes of the glob may stand for their character or for
 * themselves.
 */
function matchesAsPlain(glob: string, path: string): boolean {
  const source = (text: string) =>
    text
      .split("*")
      .map((part) => part.replace(/[.*+?^${}()|[\]\\/]/g, "\\$&"))
      .join("[^/]*");
  const isRest = glob.endsWith("/**");
  const fixed = isRest ? glob.slice(0, -2) : glob;
  return [fixed, fixed.replace(/%[0-9a-f]{2}/gi, decodeURIComponent)].some((text) =>
    new RegExp(`^${source(text)}${isRest ? ".+" : ""}$`, "s").test(path),
  );
}

describe("a method that other servers may read in another way", () => {
  const pieces = [
    ...[
      "a",
      "b",
      "A",
      "/",
      "/",
      ".",
      "..",
      ";",
      ";x=1",
      "?",
      "#",
      "\\",
      "%",
      "%2f",
      "%2F",
      "%5c",
      "%2e",
      "%2E%2e",
      "%3b",
    ],
    ...["%3f", "%23", "%25", "%252f", "%2525", "%41", "%20", "%40", "%2a", "%61", "%00", "%09", "%0d%0a", "%7f", "%80"],
    ...["%c0%af", "%c0%ae", "%e0%80%af", "%ef%bc%8f", "%ef%bc%8e", "%e2%80%a5", "%u002f", "%u002e", "%%32%66", "%2"],
    ...[
      "／",
      "．",
      "‥",
      "é",
      "\0",
      "\t",
      "\n",
      " ",
      "*",
      "+",
      "~",
      ":",
      "@",
      "=",
      "&",
      '"',
      "<",
      "[",
      "{",
      "|",
      "^",
      "`",
    ],
  ];
  const path = fc.array(fc.constantFrom(...pieces), { minLength: 1, maxLength: 8 }).map((all) => `/${all.join("")}`);
  const globs = ["/**", "/*", "/a/**", "/a/*", "/*/b", "/a/*b", "/*8", "/*1/*", "/a%20b", "/*%61", "/%2a*", "/*a*/**"];

  it("matches only globs that match each of their readings", () => {
    const seen = { matched: 0, matchedWithEscapes: 0 };
    fc.assert(
      fc.property(path, fc.constantFrom(...globs), (method, glob) => {
        if (!matchesMethod([glob], method)) return;
        seen.matched++;
        if (method.includes("%")) seen.matchedWithEscapes++;
        expect(readingsOf(method).filter(([, read]) => !matchesAsPlain(glob, read))).toEqual([]);
      }),
      { numRuns: 50_000 },
    );
    expect(seen.matched).toBeGreaterThan(100);
    expect(seen.matchedWithEscapes).toBeGreaterThan(10);
  });

  it("never matches if any of their readings has another number of segments", () => {
    fc.assert(
      fc.property(path, (method) => {
        const count = (text: string) => text.split("/").length;
        const others = readingsOf(method).filter(([, read]) => count(read) !== count(method));
        if (others.length > 0) expect(matchesMethod(["/**", "/*", "/*/*"], method)).toBe(false);
      }),
      { numRuns: 20_000 },
    );
  });

  it("never matches with an escape of a byte that is not printable ASCII or that structures a path", () => {
    const escapes = Array.from({ length: 256 }, (_, byte) => `%${byte.toString(16).padStart(2, "0")}`);
    const matched = escapes.filter((each) => matchesMethod(["/**"], `/a${each}b`));
    const harmless = escapes.filter(
      (_, byte) => byte >= 0x20 && byte < 0x7f && !"/.\\%;?#".includes(String.fromCharCode(byte)),
    );
    expect(matched).toEqual(harmless);
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
  ])("%s and %s: %s", (glob, scope, matches) => expect(matchesScope([glob], scope)).toBe(matches));
});
