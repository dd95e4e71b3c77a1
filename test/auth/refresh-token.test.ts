import { randomBytes } from "node:crypto";
import { describe, expect, it } from "vitest";
import { isGenuine, parseRefreshToken, refreshTokenOf } from "../../src/auth/tokens/refresh-token.ts";
import { newResetToken, resetTokenDigests } from "../../src/auth/tokens/reset-token.ts";
import { checksum62 } from "../../src/lib/base62.ts";
import { KeyRing } from "../../src/lib/key-ring.ts";

const oldKey = { version: 1, bytes: randomBytes(32) };
const newKey = { version: 2, bytes: randomBytes(32) };
const ring = new KeyRing([newKey, oldKey]);
const secret = { seed: randomBytes(32), ringVersion: 1 };
const session = { ...secret, id: "ses_0123456789abcdEF", generation: 7 };
const token = refreshTokenOf(ring, "kit", session);

/** Replaces the checksum by the right one. */
function resealed(text: string): string {
  const unchecked = text.slice(0, -6);
  return unchecked + checksum62(unchecked);
}

describe("a refresh token", () => {
  it("has the documented form and is the same each time", () => {
    expect(token).toMatch(/^kit_ref_0123456789abcdEF_7_[0-9A-Za-z]{49}$/);
    expect(refreshTokenOf(ring, "kit", session)).toBe(token);
  });

  it("contains its session and generation, and is genuine under the version of its login", () => {
    const parsed = parseRefreshToken("kit", token)!;
    expect(parsed).toMatchObject({ sessionId: session.id, generation: 7 });
    expect(isGenuine(ring, parsed, secret)).toBe(true);
    expect(isGenuine(new KeyRing([oldKey]), parsed, secret)).toBe(true);
  });

  it.each([
    ["another seed", ring, { ...secret, seed: randomBytes(32) }],
    ["another version", ring, { ...secret, ringVersion: 2 }],
    ["another master key", new KeyRing([{ version: 1, bytes: randomBytes(32) }]), secret],
  ])("is not genuine under %s", (_what, otherRing, otherSecret) => {
    expect(isGenuine(otherRing, parseRefreshToken("kit", token)!, otherSecret)).toBe(false);
  });

  it("causes MASTER_KEY_MISSING, not a refusal, if the ring lacks its version", () => {
    const parsed = parseRefreshToken("kit", token)!;
    expect(() => isGenuine(new KeyRing([newKey]), parsed, secret)).toThrow(
      expect.objectContaining({ reason: "MASTER_KEY_MISSING" }),
    );
  });

  it.each([
    ["another session", resealed(token.replace("ses_", "").replace("0123456789abcdEF", "0123456789abcdEG"))],
    ["a later generation", resealed(token.replace("EF_7_", "EF_8_"))],
    ["an earlier generation", resealed(token.replace("EF_7_", "EF_6_"))],
    [
      "a MAC with one other character",
      resealed(token.replace(/_(.)(.{48})$/, (_, a, b) => `_${a === "0" ? "1" : "0"}${b}`)),
    ],
  ])("that is forged is not genuine, although it parses: %s", (_what, forged) => {
    const parsed = parseRefreshToken("kit", forged);
    expect(parsed).toBeDefined();
    expect(isGenuine(ring, parsed!, secret)).toBe(false);
  });

  it.each([
    ["empty", ""],
    ["garbage", "garbage"],
    ["an access token", "eyJhbGciOiJFZERTQSJ9.e30.AAAA"],
    ["an API key", `kit_live_${"a".repeat(65)}`],
    ["another prefix", resealed(token.replace("kit_", "key_"))],
    ["a space in front", ` ${token}`],
    ["a line break behind", `${token}\n`],
    ["one character more", `${token}0`],
    ["one character less", token.slice(0, -1)],
    ["another case", token.toLowerCase()],
    ["a wrong checksum", token.slice(0, -1) + (token.endsWith("0") ? "1" : "0")],
    ["generation 0", resealed(token.replace("_7_", "_0_"))],
    ["a generation with leading zero", resealed(token.replace("_7_", "_07_"))],
    ["a negative generation", resealed(token.replace("_7_", "_-7_"))],
    ["a generation beyond int32", resealed(token.replace("_7_", "_4294967303_"))],
    ["a generation in other digits", resealed(token.replace("_7_", "_٧_"))],
    ["Bearer in front", `Bearer ${token}`],
    ["a megabyte", token + "0".repeat(1_000_000)],
  ])("is refused by its form: %s", (_what, text) => {
    expect(parseRefreshToken("kit", text)).toBeUndefined();
  });
});

describe("a reset token", () => {
  const { token: reset, kept } = newResetToken(ring, "kit");

  it("is found by its digest, even after the master key was rotated", () => {
    expect(resetTokenDigests(ring, "kit", reset)).toContainEqual(kept.digest);
    const rotated = new KeyRing([{ version: 3, bytes: randomBytes(32) }, newKey]);
    expect(resetTokenDigests(rotated, "kit", reset)).toContainEqual(kept.digest);
    expect(resetTokenDigests(new KeyRing([oldKey]), "kit", reset)).not.toContainEqual(kept.digest);
  });

  it.each(["", "garbage", token, `${reset}0`, reset.slice(1), reset.toUpperCase(), `kit_reset_${"a".repeat(49)}`])(
    "is refused by its form: %s",
    (text) => {
      expect(resetTokenDigests(ring, "kit", text)).toBeUndefined();
    },
  );
});
