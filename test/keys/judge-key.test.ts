import { describe, expect, it } from "vitest";
import { effectiveScopes, judgeKey } from "../../src/keys/judge-key.ts";
import type { Key } from "../../src/keys/key.ts";
import type { KeyRecord } from "../../src/keys/key-records.ts";

const NOW = 1_000_000;

const key: Key = {
  id: "key_0000000000000000",
  kind: "api",
  environment: "live",
  name: "",
  description: "",
  prefix: "",
  ownerId: "usr_0000000000000000",
  issuerId: "usr_0000000000000000",
  tier: "basic",
  scopes: ["read"],
  metadata: {},
  allowedIps: [],
  allowedMethods: [],
  certificateNames: [],
  limits: { perMinute: undefined, perDay: undefined },
  state: "active",
  disabledBy: undefined,
  serviceControlled: false,
  createdAtMs: 0,
  expiresAtMs: undefined,
  revokedAtMs: undefined,
  lastUsedAtMs: undefined,
  version: 1,
};
const owner = { id: "usr_0000000000000000", state: "active" as const, tier: "basic", scopes: ["*"] };
const use = { requiredScopes: [], allowedTiers: [], clientIp: "", method: "" };

function record(changes: Partial<Key> = {}, more: Partial<KeyRecord> = {}): KeyRecord {
  return {
    key: { ...key, ...changes },
    owner,
    secretExpiresAtMs: undefined,
    tier: "basic",
    ownLimits: [],
    isAllowedIp: () => false,
    shown: undefined,
    ...more,
  };
}

describe("the judgement of a key", () => {
  it("follows the contract's order: each fault hides all later ones", () => {
    // Everything is wrong at first. Each next record has one fault fewer, in the order of judgement.
    const disabledOwner = { ...owner, state: "disabled" as const };
    const bad = { expiresAtMs: NOW, allowedIps: ["192.0.2.1"], allowedMethods: ["/a"], scopes: [] };
    const want = { requiredScopes: ["read"], allowedTiers: ["pro"], clientIp: "192.0.2.2", method: "/b" };
    const verdicts = [
      judgeKey(record({ ...bad, state: "revoked" }, { owner: disabledOwner, secretExpiresAtMs: NOW }), want, NOW),
      judgeKey(record({ ...bad, state: "disabled" }, { owner: disabledOwner, secretExpiresAtMs: NOW }), want, NOW),
      judgeKey(record(bad, { owner: disabledOwner, secretExpiresAtMs: NOW }), want, NOW),
      judgeKey(record(bad, { secretExpiresAtMs: NOW }), want, NOW),
      judgeKey(record({ ...bad, expiresAtMs: undefined }, { secretExpiresAtMs: NOW }), want, NOW),
      judgeKey(record({ ...bad, expiresAtMs: undefined }), want, NOW),
      judgeKey(record({ ...bad, expiresAtMs: undefined }, { isAllowedIp: () => true }), want, NOW),
      judgeKey(
        record({ ...bad, expiresAtMs: undefined, allowedMethods: ["/b"] }, { isAllowedIp: () => true }),
        want,
        NOW,
      ),
      judgeKey(record({ scopes: [] }, { tier: "pro" }), want, NOW),
      judgeKey(record({ scopes: ["read"] }, { tier: "pro" }), want, NOW),
    ];
    expect(verdicts).toEqual([
      "revoked",
      "disabled",
      "owner_disabled",
      "expired",
      "expired",
      "ip_not_allowed",
      "method_not_allowed",
      "tier_not_allowed",
      "scope_missing",
      "valid",
    ]);
  });

  it("fails closed: a call without an address or a method passes no allow-list", () => {
    expect(judgeKey(record({ allowedIps: ["192.0.2.1"] }), { ...use, method: "/a" }, NOW)).toBe("ip_not_allowed");
    expect(judgeKey(record({ allowedMethods: ["/a"] }), { ...use, clientIp: "192.0.2.1" }, NOW)).toBe(
      "method_not_allowed",
    );
  });

  it("is expired from the exact millisecond on", () => {
    expect(judgeKey(record({ expiresAtMs: NOW + 1 }), use, NOW)).toBe("valid");
    expect(judgeKey(record({ expiresAtMs: NOW }), use, NOW)).toBe("expired");
    expect(judgeKey(record({}, { secretExpiresAtMs: NOW + 1 }), use, NOW)).toBe("valid");
    expect(judgeKey(record({}, { secretExpiresAtMs: NOW }), use, NOW)).toBe("expired");
  });

  it("has as effective scopes those that its owner's grant covers, in their order", () => {
    const scopes = ["b:read", "a:write", "a:read"];
    expect(effectiveScopes({ scopes }, { ...owner, scopes: ["a:*"] })).toEqual(["a:write", "a:read"]);
    expect(effectiveScopes({ scopes }, { ...owner, scopes: [] })).toEqual([]);
    expect(effectiveScopes({ scopes }, undefined)).toEqual(scopes);
  });

  it("requires all scopes, each of them also granted to the owner", () => {
    const granted = record({ scopes: ["a:read", "b:read"] }, { owner: { ...owner, scopes: ["a:*"] } });
    expect(judgeKey(granted, { ...use, requiredScopes: ["a:read"] }, NOW)).toBe("valid");
    expect(judgeKey(granted, { ...use, requiredScopes: ["a:read", "b:read"] }, NOW)).toBe("scope_missing");
  });
});
