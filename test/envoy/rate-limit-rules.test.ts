import { describe, expect, it } from "vitest";
import { type DescriptorEntry, figuresOf, NO_RULES, parseRules } from "../../src/envoy/rate-limit-rules.ts";

/** A file with one domain `d` and these limits. */
const file = (...limits: unknown[]) => JSON.stringify({ domains: [{ domain: "d", limits }] });
const perMinute = (figure: number) => [{ unit: "MINUTE", requests_per_unit: figure }];
const entry = (key: string, value = "v"): DescriptorEntry => ({ key, value });

describe("the limits of a descriptor", () => {
  const rules = parseRules(
    file(
      { descriptor: [{ key: "path", value: "/login" }], limits: perMinute(5) },
      { descriptor: [{ key: "path", value: "" }], limits: perMinute(1) },
      { descriptor: [{ key: "path" }], limits: perMinute(100) },
      { descriptor: [{ key: "path", value: "/login" }, { key: "ip" }], limits: perMinute(2) },
      { descriptor: [{ key: "key" }, { key: "path" }], limits: perMinute(7) },
      {
        descriptor: [{ key: "user" }],
        limits: [
          { unit: "DAY", requests_per_unit: 9 },
          { unit: "MINUTE", requests_per_unit: 0 },
        ],
      },
    ),
  );
  it.each([
    ["those of the value that it has", "d", [entry("path", "/login")], 5],
    ["those of an empty value", "d", [entry("path", "")], 1],
    ["those of any value, if no earlier rule fits", "d", [entry("path", "/login/")], 100],
    ["those of all its entries", "d", [entry("path", "/login"), entry("ip", "192.0.2.1")], 2],
    ["those of a key beside another entry", "d", [entry("key"), entry("path")], 7],
    ["none for a value that no rule names", "d", [entry("path", "/"), entry("ip")], undefined],
    ["none for its entries in another order", "d", [entry("ip"), entry("path", "/login")], undefined],
    ["none for a part of the entries of a rule", "d", [entry("ip")], undefined],
    ["none for more entries than a rule has", "d", [entry("path"), entry("ip"), entry("x")], undefined],
    ["none in another domain", "D", [entry("path")], undefined],
    ["none for keys that only look like a rule's together", "d", [entry('path","ip')], undefined],
  ])("are %s", (_, domain, entries, figure) => {
    expect(figuresOf(rules, domain, entries)?.perMinute).toBe(figure);
  });

  it("are a minute's and a day's figure, of which 0 allows nothing", () => {
    expect(figuresOf(rules, "d", [entry("user")])).toEqual({ perMinute: 0, perDay: 9 });
    expect(figuresOf(rules, "d", [entry("path")])).toEqual({ perMinute: 100, perDay: undefined });
    expect(rules.size).toBe(6);
  });

  it("are none without a file", () => {
    expect(figuresOf(NO_RULES, "d", [entry("path")])).toBeUndefined();
  });
});

describe("a file of rate limits", () => {
  const good = { descriptor: [{ key: "a" }], limits: perMinute(1) };
  const faultOf = (text: string): string => {
    try {
      parseRules(text);
    } catch (error) {
      return (error as Error).message;
    }
    return "none";
  };
  const one = (changes: object) => file({ ...good, ...changes });

  it.each([
    ["no JSON", "domains:\n  - d", /^must be JSON$|^must be JSON; the fault is at line 1 column \d+$/],
    ["an empty text", "", "must be JSON"],
    ["a list", "[]", 'must be an object with "domains"'],
    ["no domain", '{"domains": []}', "domains: must be a list with 1 to 1000 entries"],
    ["another field", '{"domains": [], "x": 1}', 'must have no other fields than "domains"'],
    [
      "a domain twice",
      JSON.stringify({ domains: [1, 2].map(() => ({ domain: "d", limits: [good] })) }),
      "domains[1].domain: must not occur twice",
    ],
    ["a domain without limits", '{"domains": [{"domain": "d"}]}', 'domains[0]: must have "limits"'],
    [
      "a domain without a name",
      '{"domains": [{"domain": "", "limits": []}]}',
      "domains[0].domain: must be a text of 1 to 256 bytes",
    ],
    [
      "a long domain",
      JSON.stringify({ domains: [{ domain: "é".repeat(129), limits: [good] }] }),
      "domains[0].domain: must be a text of 1 to 256 bytes",
    ],
    [
      "a descriptor without entries",
      one({ descriptor: [] }),
      "domains[0].limits[0].descriptor: must be a list with 1 to 16 entries",
    ],
    [
      "an entry without a key",
      one({ descriptor: [{ value: "x" }] }),
      'domains[0].limits[0].descriptor[0]: must have "key"',
    ],
    [
      "a value that is a number",
      one({ descriptor: [{ key: "a", value: 1 }] }),
      "domains[0].limits[0].descriptor[0].value: must be a text",
    ],
    [
      "a key of this service",
      one({ descriptor: [{ key: "key" }] }),
      'domains[0].limits[0].descriptor: must not be "key" alone',
    ],
    [
      "a unit of an hour",
      one({ limits: [{ unit: "HOUR", requests_per_unit: 1 }] }),
      'domains[0].limits[0].limits[0].unit: must be "MINUTE" or "DAY"',
    ],
    ["a unit in lower case", one({ limits: [{ unit: "day", requests_per_unit: 1 }] }), 'must be "MINUTE" or "DAY"'],
    [
      "a unit twice",
      one({ limits: [...perMinute(1), ...perMinute(2)] }),
      "domains[0].limits[0].limits[1].unit: must not occur twice",
    ],
    ["a limit without figures", one({ limits: [] }), "domains[0].limits[0].limits: must be a list with 1 to 2 entries"],
    [
      "a negative figure",
      one({ limits: perMinute(-1) }),
      "requests_per_unit: must be a whole number from 0 to 2147483647",
    ],
    ["half a request", one({ limits: perMinute(0.5) }), "requests_per_unit: must be a whole number"],
    ["a figure that is too large", one({ limits: perMinute(2 ** 31) }), "requests_per_unit: must be a whole number"],
    [
      "a figure that is a text",
      one({ limits: [{ unit: "DAY", requests_per_unit: "5" }] }),
      "requests_per_unit: must be a whole number",
    ],
    ["the same descriptor twice", file(good, good), "domains[0].limits[1].descriptor: never applies"],
    [
      "a value behind any value",
      file(good, { ...good, descriptor: [{ key: "a", value: "x" }] }),
      "domains[0].limits[1].descriptor: never applies, because an earlier one fits first; put this one before it",
    ],
    [
      "too many limits",
      JSON.stringify({
        domains: [1, 2].map((n) => ({
          domain: `d${n}`,
          limits: Array.from({ length: 501 }, (_, at) => ({ ...good, descriptor: [{ key: `k${at}` }] })),
        })),
      }),
      "domains: must have at most 1000 limits together",
    ],
  ])("with %s is refused, with its place", (_, text, fault) => {
    expect(faultOf(text)).toEqual(
      typeof fault === "string" ? expect.stringContaining(fault) : expect.stringMatching(fault),
    );
  });

  it("names all its faults at once, and counts those beyond 20", () => {
    const bad = { descriptor: [{ key: "" }], limits: [{ unit: "WEEK", requests_per_unit: -1 }] };
    expect(faultOf(file(bad)).split("; ")).toHaveLength(3);
    const many = faultOf(
      file(...Array.from({ length: 10 }, (_, at) => ({ ...bad, descriptor: [{ key: `k${at}` }, { key: "" }] }))),
    );
    expect(many.split("; ")).toHaveLength(21);
    expect(many).toMatch(/; and 10 more$/);
  });

  it("is never quoted, because the setting may name a file of secrets by mistake", () => {
    for (const text of [
      "kit_live_secret",
      '{"kit_live_secret": 1}',
      '{"domains": "kit_live_secret"}',
      '{"domains": [{"domain": "d", "limits": [{"descriptor": [{"key": "a"}], "limits": [{"unit": "kit_live_secret"}]}]}]}',
    ]) {
      expect(faultOf(text)).not.toContain("kit_live_secret");
    }
  });

  it("may begin with a byte order mark", () => {
    expect(parseRules(`\uFEFF${file(good)}`).size).toBe(1);
  });
});
