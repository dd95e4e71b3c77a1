import { randomBytes } from "node:crypto";
import { expect, it } from "vitest";
import { KeyRing, type MasterKey, type Purpose } from "../../src/lib/key-ring.ts";

const PURPOSES: readonly Purpose[] = [
  "api-key-pepper",
  "refresh-token",
  "reset-token",
  "password-secret",
  "page-token",
  "signing-key-seal",
  "email-digest",
  "check-value",
];

it("each purpose has its own key under each version, the same in every process", () => {
  const masterKeys: [MasterKey, MasterKey] = [
    { version: 2, bytes: randomBytes(32) },
    { version: 1, bytes: randomBytes(32) },
  ];
  const keysOf = (ring: KeyRing) =>
    ring.versions.flatMap((version) => PURPOSES.map((purpose) => ring.derive(purpose, version)!.toString("hex")));
  const keys = keysOf(new KeyRing(masterKeys));
  expect(new Set(keys).size).toBe(2 * PURPOSES.length);
  expect(keysOf(new KeyRing(masterKeys))).toEqual(keys);
});
