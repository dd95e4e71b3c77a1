import { describe, expect, it } from "vitest";
import { routeSettings } from "../../src/envoy/route-settings.ts";

const settingsOf = (extensions: Readonly<Record<string, string>>) => routeSettings(Object.entries(extensions));

describe("a route's settings", () => {
  it("are those of a key without further needs if the route says nothing to latchkey", () => {
    const defaults = { accept: "key", scopes: [], tiers: [], cost: 1, environment: "", limits: [] };
    expect(settingsOf({})).toMatchObject(defaults);
    expect(settingsOf({ virtual_host: "shop", "other.scopes": "a" })).toMatchObject(defaults);
  });

  it("have each setting, with lists separated by blanks or commas", () => {
    const settings = settingsOf({
      "latchkey.scopes": "orders:read,orders:write  reports",
      "latchkey.tiers": "basic pro",
      "latchkey.cost": "3",
      "latchkey.environment": "live",
      "latchkey.limits.search.per_minute": "60",
      "latchkey.limits.search.per_day": "5000",
      "latchkey.limits.a.b/c.per_day": "7",
      "latchkey.accept": "key, user",
      "latchkey.address_header": "X-Envoy-External-Address",
    });
    expect(settings).toEqual({
      accept: "either",
      scopes: ["orders:read", "orders:write", "reports"],
      tiers: ["basic", "pro"],
      cost: 3,
      environment: "live",
      limits: [
        { name: "search", perMinute: 60, perDay: 5000 },
        { name: "a.b/c", perMinute: undefined, perDay: 7 },
      ],
      addressHeader: "x-envoy-external-address",
    });
  });

  it.each([
    ["latchkey.scope", "orders:read"],
    ["latchkey.Scopes", "orders:read"],
    ["Latchkey.scopes", "orders:read"],
    ["latchkey_scopes", "orders:read"],
    ["latchkey-scopes", "orders:read"],
    ["latchkey", "orders:read"],
    ["latchkey.", "orders:read"],
    ["latchkey.scopes ", "orders:read"],
    ["latchkey.scopes", ""],
    ["latchkey.scopes", " , "],
    ["latchkey.scopes", "orders:read\ttabbed"],
    ["latchkey.scopes", "ordérs"],
    ["latchkey.scopes", Array.from({ length: 65 }, (_, at) => `s${at}`).join(" ")],
    ["latchkey.tiers", ""],
    ["latchkey.tiers", `${"t".repeat(65)}`],
    ["latchkey.cost", ""],
    ["latchkey.cost", "-1"],
    ["latchkey.cost", "1.5"],
    ["latchkey.cost", "1e3"],
    ["latchkey.cost", " 1"],
    ["latchkey.cost", "2147483648"],
    ["latchkey.cost", "9".repeat(40)],
    ["latchkey.environment", ""],
    ["latchkey.environment", "li\nve"],
    ["latchkey.accept", ""],
    ["latchkey.accept", "keys"],
    ["latchkey.accept", "key,user,other"],
    ["latchkey.accept", "none"],
    ["latchkey.address_header", ""],
    ["latchkey.address_header", "x forwarded"],
    ["latchkey.address_header", ":authority"],
    ["latchkey.address_header", "X-Forwarded-For"],
    ["latchkey.address_header", "x_forwarded_for"],
    ["latchkey.address_header", "forwarded"],
    ["latchkey.address_header", "x-api-key"],
    ["latchkey.limits.per_minute", "60"],
    ["latchkey.limits..per_minute", "60"],
    ["latchkey.limits.search", "60"],
    ["latchkey.limits.search.per_hour", "60"],
    ["latchkey.limits.Search.per_minute", "60"],
    ["latchkey.limits.search.per_minute", "many"],
    ["latchkey.limits.search.per_minute", ""],
    [`latchkey.limits.${"s".repeat(65)}.per_minute`, "1"],
  ])("are refused for %s: %j", (name, value) => {
    expect(settingsOf({ [name]: value })).toEqual({ faults: [expect.stringMatching(/^[\x21-\x7e]+: /)] });
  });

  it("are refused where one contradicts another", () => {
    const limits = Object.fromEntries(
      Array.from({ length: 9 }, (_, at) => [`latchkey.limits.n${at}.per_minute`, "1"] as const),
    );
    const contradictions: Record<string, string>[] = [
      { "latchkey.cost": "61", "latchkey.limits.search.per_minute": "60" },
      { "latchkey.accept": "user", "latchkey.scopes": "orders:read" },
      { "latchkey.accept": "user", "latchkey.limits.search.per_minute": "60" },
      { "latchkey.accept": "user", "latchkey.cost": "1" },
      limits,
    ];
    for (const extensions of contradictions) {
      expect(settingsOf(extensions)).toHaveProperty("faults");
    }
  });

  it("tell every fault, and never a value", () => {
    const settings = settingsOf({
      "latchkey.cost": "secret",
      "latchkey.\u202Etier": "secret",
      "latchkey.tiers": "pro",
    });
    expect(settings).toEqual({ faults: [expect.stringContaining("latchkey.cost: "), "latchkey.?tier: is no setting"] });
    expect(JSON.stringify(settings)).not.toContain("secret");
  });
});
