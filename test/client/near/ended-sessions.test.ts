/** The stream's word on sessions. */
import { describe, expect, it } from "vitest";
import { BEGIN_MS, Kind, NearWorld } from "./near-world.ts";

const ended = (n: number, changedAtMs = BEGIN_MS) => ({
  kind: Kind.SESSION,
  subjectId: `ses_${`${n}`.padStart(16, "s")}`,
  position: 0,
  changedAtMs,
});
const id = (n: number) => ended(n).subjectId;

describe("a session", () => {
  it("is not known before the first whole message, unless it is told to have ended", () => {
    const world = new NearWorld();
    expect(world.cache.sessionEnded(id(1), BEGIN_MS)).toBeUndefined();
    const attempt = world.cache.openStream("");
    world.tell(attempt, { cursor: "", changes: [ended(1)] });
    expect(world.cache.sessionEnded(id(1), BEGIN_MS)).toBe(true);
    expect(world.cache.sessionEnded(id(2), BEGIN_MS)).toBeUndefined();
    world.tell(attempt, { changes: [ended(3)] });
    expect([1, 2, 3].map((n) => world.cache.sessionEnded(id(n), BEGIN_MS))).toEqual([true, false, true]);
  });

  it("stays ended over a resync and another epoch, and others are not known until its last part", () => {
    for (const told of [{ resync: true }, { epoch: 8n }]) {
      const world = new NearWorld();
      const attempt = world.stream({ changes: [ended(1)] });
      world.tell(attempt, { ...told, cursor: "" });
      expect([1, 2].map((n) => world.cache.sessionEnded(id(n), BEGIN_MS))).toEqual([true, undefined]);
      world.tell(attempt, { epoch: told.epoch ?? 7n });
      expect([1, 2].map((n) => world.cache.sessionEnded(id(n), BEGIN_MS))).toEqual([true, false]);
      world.cache.clear();
      expect(world.cache.sessionEnded(id(1), BEGIN_MS)).toBe(true);
    }
  });

  it("of a token from before the sessions that are forgotten is not known", () => {
    const world = new NearWorld();
    const attempt = world.stream();
    const HALF = 50_000;
    for (let half = 0; half < 3; half++) {
      const changes = Array.from({ length: HALF }, (_, n) => ended(half * HALF + n, BEGIN_MS + half * 60_000));
      world.tell(attempt, { changes });
      expect(world.cache.sessionEnded(id(0), BEGIN_MS)).toBe(half < 2 ? true : undefined);
      expect(world.cache.sessionEnded(id(half * HALF), BEGIN_MS)).toBe(true);
      expect(world.cache.sessionEnded("ses_other", BEGIN_MS)).toBe(half < 2 ? false : undefined);
    }
    expect(world.cache.sessionEnded("ses_other", BEGIN_MS + 5000)).toBeUndefined();
    expect(world.cache.sessionEnded("ses_other", BEGIN_MS + 5001)).toBe(false);
  });

  it("changes no key", () => {
    const world = new NearWorld();
    const attempt = world.stream();
    world.verify(1);
    world.tell(attempt, { changes: [ended(1), { ...ended(2), kind: Kind.SIGNING_KEY }] });
    expect(world.verdict(1)).toBe("VALID");
  });
});
