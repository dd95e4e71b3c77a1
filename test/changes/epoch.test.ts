import { describe, expect, it } from "vitest";
import { epochNumber } from "../../src/changes/epoch.ts";
import { leastMsBetween, momentOf } from "../../src/changes/freshness.ts";
import { positionOf } from "../../src/changes/snapshot.ts";
import { verdictSettings } from "../../src/keys/verdict-settings.ts";
import { StandingClock } from "../support/shifted-clock.ts";

const HISTORY = { systemId: "7412345678901234567", timeline: 1, incarnation: "a" };
const TIERS = [
  { name: "basic", perMinute: 20, perDay: 1000 },
  { name: "pro", perMinute: 60, perDay: undefined },
];
const FORMAT = { prefix: "kit", environments: ["live", "test"] };
const settings = verdictSettings(TIERS, FORMAT);

describe("the number of an epoch", () => {
  it("is the same on every process with the same history and settings, and fits 64 bits", () => {
    const number = epochNumber(HISTORY, settings);
    expect(epochNumber({ ...HISTORY }, verdictSettings([...TIERS], { ...FORMAT }))).toBe(number);
    expect(verdictSettings(TIERS, { ...FORMAT, environments: ["test", "live"] })).toBe(settings);
    expect(number > 0n && number < 2n ** 64n).toBe(true);
  });

  it.each([
    ["system", { ...HISTORY, systemId: "8" }, settings],
    ["timeline", { ...HISTORY, timeline: 2 }, settings],
    ["incarnation", { ...HISTORY, incarnation: "b" }, settings],
    ["figure of a tier", HISTORY, verdictSettings([{ ...TIERS[0]!, perDay: 1001 }, TIERS[1]!], FORMAT)],
    ["missing figure", HISTORY, verdictSettings([TIERS[0]!, { ...TIERS[1]!, perDay: 0 }], FORMAT)],
    ["order of tiers", HISTORY, verdictSettings([TIERS[1]!, TIERS[0]!], FORMAT)],
    ["prefix", HISTORY, verdictSettings(TIERS, { ...FORMAT, prefix: "kat" })],
    ["environment", HISTORY, verdictSettings(TIERS, { ...FORMAT, environments: ["live"] })],
  ])("is another one for another %s", (_what, history, text) => {
    expect(epochNumber(history, text)).not.toBe(epochNumber(HISTORY, settings));
  });
});

describe("the position of a snapshot", () => {
  it.each([
    ["700:700:", 700n],
    ["700:705:700", 704n],
    ["700:705:700,702,704", 702n],
  ])("of %s is %s: the transactions that were complete", (snapshot, position) => {
    expect(positionOf(snapshot)).toBe(position);
  });
});

describe("the time between two moments", () => {
  it("lacks a suspension, and no step of the host's clock makes it too large", () => {
    const clock = new StandingClock();
    const from = momentOf(clock);
    clock.advance(500);
    expect(leastMsBetween(from, momentOf(clock))).toBe(500);
    expect(leastMsBetween(momentOf(clock), from)).toBe(-500);
    clock.suspend(10_000);
    expect(leastMsBetween(from, momentOf(clock))).toBe(500);
    expect(leastMsBetween(momentOf(clock), from)).toBe(-10_500);
    clock.jump(60_000);
    expect(leastMsBetween(from, momentOf(clock))).toBe(500);
  });
});
