import { randomBytes } from "node:crypto";
import { describe, expect, it } from "vitest";
import { parseKey } from "../../src/keys/key-form.ts";
import { findSecret, MissingPepper, newSecret, rehashOf } from "../../src/keys/key-secret.ts";
import { KeyRing } from "../../src/lib/key-ring.ts";

const format = { prefix: "kit", environments: ["live", "test"] };
const one = { version: 1, bytes: randomBytes(32) };
const two = { version: 2, bytes: randomBytes(32) };

describe("the form of a raw key", () => {
  it("is prefix, environment, 16 characters of id, 43 of secret and 6 of checksum, and contains its id", () => {
    const made = newSecret(new KeyRing([one]), format, "live");
    expect(made.rawKey).toMatch(/^kit_live_[0-9A-Za-z]{65}$/);
    expect(made.keyId).toBe(`key_${made.rawKey.slice(9, 25)}`);
    expect(made.displayPrefix).toBe(made.rawKey.slice(0, 12));
    expect(parseKey(format, made.rawKey)).toEqual({ kind: "api", environment: "live", keyId: made.keyId });
  });

  it("is the same for service credentials, with another kind", () => {
    const made = newSecret(new KeyRing([one]), format, "svc");
    expect(parseKey(format, made.rawKey)).toMatchObject({ kind: "service", keyId: `svc_${made.rawKey.slice(8, 24)}` });
  });

  it("has one of the service's environments, even if the checksum is right", () => {
    const made = newSecret(new KeyRing([one]), { ...format, environments: ["prod"] }, "prod");
    expect(parseKey(format, made.rawKey)).toBeUndefined();
    expect(parseKey({ ...format, environments: ["live", "prod"] }, made.rawKey)?.keyId).toBe(made.keyId);
  });

  it("has the same id when a key gets one more secret", () => {
    const ring = new KeyRing([one]);
    const first = newSecret(ring, format, "live");
    const second = newSecret(ring, format, "live", first.keyId);
    expect(second.keyId).toBe(first.keyId);
    expect(second.rawKey.slice(0, 25)).toBe(first.rawKey.slice(0, 25));
    expect(second.rawKey).not.toBe(first.rawKey);
  });

  it("has a checksum that detects every changed character", () => {
    const { rawKey } = newSecret(new KeyRing([one]), format, "live");
    for (let at = 0; at < rawKey.length; at++) {
      const other = rawKey[at] === "a" ? "b" : "a";
      expect(parseKey(format, rawKey.slice(0, at) + other + rawKey.slice(at + 1))).toBeUndefined();
    }
  });

  it("has a checksum that is CRC-32 in base62, as a scanner would compute it", () => {
    const front = `kit_live_${"A".repeat(59)}`;
    // CRC-32 (IEEE) of that text by another implementation: Python's zlib.crc32
    const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let rest = 0x6270e1d7;
    let checksum = "";
    for (let n = 0; n < 6; n++) {
      checksum = digits[rest % 62] + checksum;
      rest = Math.floor(rest / 62);
    }
    expect(parseKey(format, front + checksum)).toEqual({
      kind: "api",
      environment: "live",
      keyId: `key_${"A".repeat(16)}`,
    });
  });
});

describe("finding the secret that a raw key holds", () => {
  const old = new KeyRing([one]);
  const rotated = new KeyRing([two, one]);

  it("finds a secret that was made under an older master key", () => {
    const made = newSecret(old, format, "live");
    const found = findSecret(rotated, made.rawKey, [made.secret]);
    expect(found).toBe(made.secret);
  });

  it("finds nothing for another secret, or if the key has no secrets", () => {
    const made = newSecret(old, format, "live");
    const other = newSecret(old, format, "live", made.keyId);
    expect(findSecret(old, other.rawKey, [made.secret])).toBeUndefined();
    expect(findSecret(old, other.rawKey, [])).toBeUndefined();
  });

  it("throws, instead of finding nothing, if a master key is missing", () => {
    const made = newSecret(new KeyRing([two]), format, "live");
    const find = () => findSecret(old, made.rawKey, [made.secret]);
    expect(find).toThrow(MissingPepper);
  });

  it("finds nothing if a master key is missing only for secrets that have ended", () => {
    const over = newSecret(new KeyRing([two]), format, "live").secret;
    const live = newSecret(new KeyRing([two]), format, "live").secret;
    const { rawKey } = newSecret(old, format, "live");
    const isOver = (secret: unknown) => secret === over;
    expect(findSecret(old, rawKey, [over], isOver)).toBeUndefined();
    expect(() => findSecret(old, rawKey, [over, live], isOver)).toThrow(MissingPepper);
  });

  it("finds the right secret even if another secret's master key is missing", () => {
    const good = newSecret(old, format, "live");
    const lost = newSecret(new KeyRing([two]), format, "live", good.keyId);
    expect(findSecret(old, good.rawKey, [lost.secret, good.secret])).toBe(good.secret);
  });
});

describe("the rehash of a secret", () => {
  const made = newSecret(new KeyRing([one]), format, "live");

  it("is the digest under the ring's first version, which the same raw key matches", () => {
    const rotated = new KeyRing([two, one]);
    const rehash = rehashOf(rotated, made.rawKey, made.secret);
    expect(rehash).toMatchObject({ from: made.secret, to: { pepperVersion: 2 } });
    const moved = { ...rehash!.to, expiresAtMs: undefined };
    expect(findSecret(new KeyRing([two]), made.rawKey, [moved])).toBe(moved);
    expect(rehashOf(rotated, made.rawKey, moved)).toBeUndefined();
  });

  it("is undefined if another version was only appended, or if the order was turned back", () => {
    expect(rehashOf(new KeyRing([one, two]), made.rawKey, made.secret)).toBeUndefined();
    const newer = newSecret(new KeyRing([two]), format, "live");
    expect(rehashOf(new KeyRing([one, two]), newer.rawKey, newer.secret)).toBeUndefined();
  });
});
