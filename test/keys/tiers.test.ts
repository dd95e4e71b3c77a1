import { describe, expect, it } from "vitest";
import type { Key } from "../../src/keys/key.ts";
import { Tiers } from "../../src/keys/tiers.ts";

const tiers = new Tiers([
  { name: "basic", perMinute: 20, perDay: 1000 },
  { name: "pro", perMinute: 60, perDay: undefined },
  { name: "top", perMinute: undefined, perDay: 9 },
]);
const none = { perMinute: undefined, perDay: undefined };
const key = (tier: string, limits: Key["limits"] = none) => ({ tier, limits }) as Key;
const owner = (tier: string) => ({ id: "usr_0000000000000000", state: "active" as const, tier, scopes: [] });

describe("tiers", () => {
  it.each([
    ["basic", "pro", "basic"],
    ["pro", "basic", "basic"],
    ["top", "pro", "pro"],
    ["pro", "pro", "pro"],
    ["gone", "pro", "basic"],
    ["pro", "gone", "basic"],
  ])("a %s key of a %s owner is judged as %s", (own, granted, judged) => {
    expect(tiers.judged(key(own), owner(granted)).name).toBe(judged);
  });

  it("grants at most the owner's tier, and only the lowest to an owner whose tier is no longer configured", () => {
    expect(tiers.isWithin("pro", "pro")).toBe(true);
    expect(tiers.isWithin("top", "pro")).toBe(false);
    expect(tiers.isWithin("basic", "gone")).toBe(true);
    expect(tiers.isWithin("pro", "gone")).toBe(false);
  });

  it("lets each figure that is set on the key replace the tier's, including 0", () => {
    expect(tiers.effectiveLimits(key("pro"), owner("pro"))).toEqual({ perMinute: 60, perDay: undefined });
    expect(tiers.effectiveLimits(key("pro", { perMinute: 0, perDay: undefined }), owner("pro"))).toEqual({
      perMinute: 0,
      perDay: undefined,
    });
    expect(tiers.effectiveLimits(key("basic", { perMinute: undefined, perDay: 7 }), owner("basic"))).toEqual({
      perMinute: 20,
      perDay: 7,
    });
  });
});
