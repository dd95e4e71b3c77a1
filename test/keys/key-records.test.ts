import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { describe, expect, it } from "vitest";
import { DatabaseClock } from "../../src/changes/database-clock.ts";
import { compileNetworks } from "../../src/keys/allowed-ips.ts";
import type { Key } from "../../src/keys/key.ts";
import { bytesOf, type KeyRecord } from "../../src/keys/key-records.ts";
import { Tiers } from "../../src/keys/tiers.ts";
import { INVALID_BY_FORM } from "../../src/keys/verdict.ts";
import { VerdictEncoder } from "../../src/rpc/handlers/verdict-encoding.ts";
import { StandingClock } from "../support/shifted-clock.ts";

const THIN: Key = {
  id: "key_0000000000000000",
  kind: "api",
  environment: "live",
  name: "the key of some service",
  description: "",
  prefix: "kit_live_0000",
  ownerId: "usr_0000000000000000",
  issuerId: "usr_0000000000000000",
  tier: "basic",
  scopes: ["orders:read", "orders:write"],
  metadata: { team: "billing" },
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
/** The maximum number and length of a key's texts. */
const fat = (character: string): Partial<Key> => ({
  description: character.repeat(256),
  scopes: Array.from({ length: 64 }, (_, n) => `${n}`.padEnd(128, "s")),
  allowedMethods: Array.from({ length: 64 }, (_, n) => `/${n}`.padEnd(128, "m")),
  metadata: Object.fromEntries(
    Array.from({ length: 32 }, (_, n) => [`${n}`.padEnd(64, character), character.repeat(512)]),
  ),
});
const KEPT = 400;

const clock = new StandingClock();
const encoder = new VerdictEncoder({
  tiers: new Tiers([{ name: "basic", perMinute: 20, perDay: 1000 }]),
  databaseClock: new DatabaseClock(clock),
  clock,
});

/** A record as a driver creates it: it shares no text with another one, and was encoded once. */
function record(changes: Partial<Key>): KeyRecord {
  const key = JSON.parse(JSON.stringify({ ...THIN, ...changes })) as Key;
  const made: KeyRecord = {
    key,
    owner: { id: key.ownerId!, state: "active", tier: "basic", scopes: ["*"] },
    secretExpiresAtMs: undefined,
    tier: "basic",
    ownLimits: [],
    isAllowedIp: compileNetworks(key.allowedIps),
    shown: undefined,
  };
  encoder.encode({ ...INVALID_BY_FORM, verdict: "valid", record: made });
  return made;
}

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;

function heapBytes(): number {
  collectGarbage();
  return process.memoryUsage().heapUsed;
}

describe("bytesOf a key's record", () => {
  it.each([
    ["ASCII", "x"],
    ["two bytes a character", "ж"],
    ["three bytes a character", "漢"],
    ["pairs of surrogates", "😀"],
  ])("is at least the memory of a large record, and at most twice that: %s", (_, character) => {
    const before = heapBytes();
    const kept = Array.from({ length: KEPT }, () => record(fat(character)));
    const bytes = (heapBytes() - before) / KEPT;
    expect(bytes, "the record is large").toBeGreaterThan(40_000);
    expect(bytesOf(kept[0]!)).toBeGreaterThan(bytes);
    expect(bytesOf(kept[0]!)).toBeLessThan(2 * bytes);
  });

  it("is less than 1,536 for a usual record, so that the number of records bounds them first", () => {
    expect(bytesOf(record({}))).toBeLessThan(1536);
  });
});
