import { describe, expect, it } from "vitest";
import { LEVELS, PLACES_PER_LEVEL, RefusalRoom, type RefusalRoomName } from "../../src/audit/refusal-rooms.ts";

const HOUR = 3_600_000;

/** Enters one subject `times` times. @returns the place of each refusal */
const enter = (room: RefusalRoom, about: string, times: number, nowMs = 0) =>
  Array.from({ length: times }, () => room.enter(about, nowMs));

describe("subjects with an event of their own", () => {
  it.each<RefusalRoomName>(["known", "unknown", "network"])(
    "are bounded in an hour, for any number of refused subjects: %s",
    (name) => {
      const room = new RefusalRoom(name);
      const perLevel = PLACES_PER_LEVEL[name];
      const own = (nowMs: number, times: number) => {
        const subjects = Array.from({ length: 4 * perLevel }, (_, n) => `${times} ${n}`);
        return subjects.filter((about) => enter(room, about, times, nowMs).at(-1)!.isOwn).length;
      };
      // Subjects with one refusal get places of the first level only; others get those of each level that they reach.
      expect(own(0, 1)).toBe(perLevel);
      expect(own(0, 64)).toBe(3 * perLevel);
      expect(own(0, 1024)).toBe((LEVELS - 4) * perLevel);
      expect(own(0, 1025)).toBe(0);
      expect(own(HOUR, 1)).toBe(perLevel);
    },
  );

  it("include one that is refused often, even if many were refused before it", () => {
    const room = new RefusalRoom("known");
    // A hundred accounts fill the first level, and nine hundred more try to.
    for (let n = 0; n < 1000; n++) enter(room, `noise ${n}`, 3);
    const placed = enter(room, "victim", 85);
    expect(placed.findIndex(({ isOwn }) => isOwn)).toBe(3);
    expect(placed[3]).toEqual({ isOwn: true, countedBefore: 3 });
    expect(placed.slice(4)).toEqual(Array(81).fill({ isOwn: true, countedBefore: 0 }));
  });

  it("keep their event for the hour, and start again in the next one", () => {
    const room = new RefusalRoom("unknown");
    expect(enter(room, "a", 2, HOUR - 1)).toEqual(Array(2).fill({ isOwn: true, countedBefore: 0 }));
    for (let n = 0; n < 15; n++) enter(room, `n${n}`, 1, HOUR - 1);
    expect(enter(room, "late", 1, HOUR - 1)).toEqual([{ isOwn: false, countedBefore: 0 }]);
    expect(enter(room, "a", 1, HOUR - 1)).toEqual([{ isOwn: true, countedBefore: 0 }]);
    expect(enter(room, "late", 1, HOUR)).toEqual([{ isOwn: true, countedBefore: 0 }]);
  });
});
