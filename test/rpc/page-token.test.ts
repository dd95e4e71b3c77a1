import { randomBytes } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import { UserSchema } from "../../src/gen/latchkey/v1/user_pb.ts";
import { KeyRing } from "../../src/lib/key-ring.ts";
import type { Caller } from "../../src/rpc/call.ts";
import { maskPaths } from "../../src/rpc/handlers/field-mask.ts";
import { PageTokens, pageSize } from "../../src/rpc/handlers/page-token.ts";

const oldKey = { version: 1, bytes: randomBytes(32) };
const tokens = new PageTokens(new KeyRing([oldKey]));
const user = (userId: string): Caller => ({ kind: "user", userId, sessionId: "ses_a" });
const scope = { method: "ListKeys", caller: user("usr_a"), filter: ["usr_a", false] };
const next = { createdAtMs: 1_700_000_000_123, id: "key_0123456789abcdef" };
const INVALID = expect.objectContaining({
  reason: "INVALID_FIELD",
  violations: [expect.objectContaining({ field: "page_token" })],
});

describe("a page token", () => {
  it("returns the position, hides it, and is empty at the end of the list", () => {
    const token = tokens.seal(scope, next);
    expect(tokens.open(scope, token)).toEqual(next);
    expect(Buffer.from(token, "base64url").toString("latin1")).not.toContain(next.id);
    expect(tokens.seal(scope, undefined)).toBe("");
    expect(tokens.open(scope, "")).toBeUndefined();
  });

  it("differs each time, because each is sealed with another nonce", () => {
    const nonces = Array.from({ length: 8 }, () =>
      Buffer.from(tokens.seal(scope, next), "base64url").subarray(2, 14).toString("hex"),
    );
    expect(new Set(nonces).size).toBe(8);
  });

  it("is valid in another session of the same caller, and after a rotation of the master key", () => {
    const token = tokens.seal(scope, next);
    const caller: Caller = { kind: "user", userId: "usr_a", sessionId: "ses_b" };
    expect(tokens.open({ ...scope, caller }, token)).toEqual(next);
    const rotated = new PageTokens(new KeyRing([{ version: 2, bytes: randomBytes(32) }, oldKey]));
    expect(rotated.open(scope, token)).toEqual(next);
  });

  it.each([
    ["another caller", { ...scope, caller: user("usr_b") }],
    ["a service", { ...scope, caller: { kind: "service", credentialId: "usr_b", scopes: [] } as Caller }],
    ["another method", { ...scope, method: "ListSessions" }],
    ["another filter", { ...scope, filter: ["usr_a", true] }],
    ["no filter", { ...scope, filter: [] }],
    ["a filter with the same text in other parts", { ...scope, filter: ["usr_a,false"] }],
  ])("is refused for %s", (_what, other) => {
    expect(() => tokens.open(other, tokens.seal(scope, next))).toThrow(INVALID);
  });

  it("is refused if it is altered in any character, cut, lengthened or made up", () => {
    const token = tokens.seal(scope, next);
    for (let at = 0; at < token.length; at++) {
      const other = token[at] === "A" ? "B" : "A";
      expect(() => tokens.open(scope, token.slice(0, at) + other + token.slice(at + 1))).toThrow(INVALID);
    }
    const madeUp = ["x", "garbage", token.slice(0, -1), `${token}A`, `${token}=`, ` ${token}`, "A".repeat(100_000)];
    for (const text of madeUp) expect(() => tokens.open(scope, text)).toThrow(INVALID);
    const foreign = new PageTokens(new KeyRing([{ version: 1, bytes: randomBytes(32) }])).seal(scope, next);
    expect(() => tokens.open(scope, foreign)).toThrow(INVALID);
  });
});

it.each([
  [0, 50],
  [1, 1],
  [250, 250],
  [251, 250],
  [2_147_483_647, 250],
])("page_size %i gives pages of %i", (requested, size) => {
  expect(pageSize(requested)).toBe(size);
});

it.each([-1, -2_147_483_648])("page_size %i is refused", (requested) => {
  expect(() => pageSize(requested)).toThrow(expect.objectContaining({ reason: "INVALID_FIELD" }));
});

describe("an update mask", () => {
  const mask = (...paths: string[]) => ({ $typeName: "google.protobuf.FieldMask" as const, paths });
  it("selects the fields that it names", () => {
    const user = create(UserSchema, { displayName: "N" });
    expect(maskPaths(mask("tier", "scopes", "tier"), ["tier", "scopes", "display_name"], UserSchema, user)).toEqual(
      new Set(["tier", "scopes"]),
    );
  });

  it.each([
    ["absent", undefined],
    ["empty", mask()],
  ])("that is %s selects the writable fields that have a value", (_what, given) => {
    const user = create(UserSchema, { id: "usr_1", displayName: "N", scopes: ["a"] });
    expect(maskPaths(given, ["tier", "scopes", "display_name"], UserSchema, user)).toEqual(
      new Set(["scopes", "display_name"]),
    );
    for (const nothing of [undefined, create(UserSchema, { id: "usr_1", email: "a@example.com" })]) {
      expect(() => maskPaths(given, ["tier", "scopes"], UserSchema, nothing)).toThrow(
        expect.objectContaining({ violations: [expect.objectContaining({ field: "update_mask" })] }),
      );
    }
  });

  it.each([
    ["an unknown path", mask("tier", "colour")],
    ["an output-only path", mask("create_time")],
    ["a wildcard", mask("*")],
    ["an empty path", mask("")],
    ["a path into a field", mask("tier.name")],
  ])("with %s is refused", (_what, given) => {
    expect(() => maskPaths(given, ["tier", "scopes"], UserSchema, create(UserSchema, { tier: "pro" }))).toThrow(
      expect.objectContaining({ violations: [expect.objectContaining({ field: "update_mask" })] }),
    );
  });
});
