import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { networksOf } from "../../src/lib/ip.ts";
import { FairRoom, type FairRoomOptions, type Member } from "../../src/shares/fair-room.ts";
import { addressHolder, type Holder } from "../../src/shares/holder.ts";

class Guest implements Member {
  isListed = false;
  older: Member["older"];
  newer: Member["newer"];
  group: object | undefined;
  gaveWay = false;
  readonly holder: Holder;

  constructor(holder: Holder) {
    this.holder = holder;
  }
}

function roomOf(options: Omit<FairRoomOptions<Guest>, "onGiveWay">) {
  const room = newRoom(options);
  const enter = (holder: Holder) => {
    const guest = new Guest(holder);
    return room.enter(holder, guest) ? guest : undefined;
  };
  return { room, enter };
}

function newRoom(options: Omit<FairRoomOptions<Guest>, "onGiveWay">): FairRoom<Guest> {
  const onGiveWay = (guest: Guest) => {
    guest.gaveWay = true;
  };
  return new FairRoom<Guest>({ ...options, onGiveWay });
}

describe("a fair room", () => {
  it("lets one holder have all places while no other holder asks", () => {
    const { room, enter } = roomOf({ places: 10 });
    for (let i = 0; i < 10; i++) expect(enter(["hog"])).toBeDefined();
    expect(enter(["hog"])).toBeUndefined();
    expect(room.size).toBe(10);
  });

  it("gives a newcomer the place of the oldest member of the holder with the most", () => {
    const { room, enter } = roomOf({ places: 10 });
    const hogs = Array.from({ length: 9 }, () => enter(["hog"])!);
    enter(["b"]);
    expect(enter(["c"])).toBeDefined();
    expect(hogs.map(({ gaveWay }) => gaveWay)).toEqual([true, ...Array(8).fill(false)]);
    expect(room.size).toBe(10);
  });

  it("lets a holder reach the number of the others, but not exceed it", () => {
    const { room, enter } = roomOf({ places: 10 });
    for (let i = 0; i < 10; i++) enter(["hog"]);
    let entered = 0;
    while (enter(["b"]) !== undefined) entered++;
    expect(entered).toBe(5);
    expect([room.sizeOf(["hog"]), room.sizeOf(["b"])]).toEqual([5, 5]);
  });

  it("counts the many addresses of one network together", () => {
    const { room, enter } = roomOf({ places: 10 });
    for (let i = 0; i < 10; i++) enter(["anonymous", "2001:db8::/48", `${i}`]);
    for (let i = 0; i < 5; i++) expect(enter(["anonymous", "192.0.2.0/24", "192.0.2.1"])).toBeDefined();
    expect(room.sizeOf(["anonymous", "2001:db8::/48"])).toBe(5);
  });

  it("gives a group with four times the weight four times the places", () => {
    const { room, enter } = roomOf({ places: 10, weight: (name) => (name === "known" ? 4 : 1) });
    for (let i = 0; i < 10; i++) enter(["anonymous", `${i}`]);
    while (enter(["known", "service"]) !== undefined);
    expect([room.sizeOf(["known"]), room.sizeOf(["anonymous"])]).toEqual([8, 2]);
  });

  it("gives up a member of the largest holder when asked to, unless it is empty", () => {
    const { room, enter } = roomOf({});
    const [hog, other] = [[enter(["hog"])!, enter(["hog"])!], enter(["b"])!];
    expect([room.makePlace(), room.makePlace(), room.makePlace(), room.makePlace()]).toEqual([true, true, true, false]);
    expect([...hog, other].every(({ gaveWay }) => gaveWay)).toBe(true);
    // Empty groups that the room remembers have nothing to give.
    expect(room.makePlaceFor(["b"])).toBe(false);
  });

  it("forgets holders without members, except the latest 100", () => {
    const { room, enter } = roomOf({});
    const guests = Array.from({ length: 1000 }, (_, at) => enter(["anonymous", `${at}`])!);
    for (const guest of guests) room.leave(guest);
    expect([room.size, [...room]]).toEqual([0, []]);
    expect(room.groups).toBeLessThanOrEqual(102);
    expect(enter(["anonymous", "0"])).toBeDefined();
  });

  it("moves a member to the holder that it turns out to belong to", () => {
    const { room, enter } = roomOf({ places: 2 });
    const guest = enter(["anonymous", "192.0.2.1"])!;
    room.move(["known", "usr_1"], guest);
    expect([room.sizeOf(["anonymous"]), room.sizeOf(["known", "usr_1"]), room.size]).toEqual([0, 1, 1]);
    room.leave(guest);
    room.leave(guest);
    room.move(["known", "usr_1"], guest);
    expect([room.size, [...room]]).toEqual([0, []]);
  });
});

const HOLDERS: readonly Holder[] = [
  ["k", "u1"],
  ["k", "u2"],
  ["a", "n1", "i1"],
  ["a", "n1", "i2"],
  ["a", "n2", "i3"],
];
const steps = fc.array(
  fc.oneof(
    fc.record({ enter: fc.integer({ min: 0, max: HOLDERS.length - 1 }) }),
    fc.record({ leave: fc.nat(1000) }),
    fc.record({ move: fc.nat(1000), to: fc.integer({ min: 0, max: HOLDERS.length - 1 }) }),
  ),
  { maxLength: 200 },
);

describe("a fair room, with random members,", () => {
  it("never exceeds its places, and admits a member whose group holds two less than another of its level", () => {
    fc.assert(
      fc.property(steps, fc.integer({ min: 2, max: 12 }), (plan, places) => {
        const room = newRoom({ places });
        let present: Guest[] = [];
        for (const step of plan) {
          if ("enter" in step) {
            const guest = new Guest(HOLDERS[step.enter]!);
            const before = sizesBeside(present, guest.holder);
            if (room.enter(guest.holder, guest)) present.push(guest);
            else for (const [own, largest] of before) expect(own + 2).toBeGreaterThan(largest);
          } else if ("leave" in step) {
            const guest = present[step.leave % present.length];
            if (guest !== undefined) room.leave(guest);
            present = present.filter((each) => each !== guest);
          } else {
            const at = step.move % present.length;
            const guest = present[at];
            if (guest === undefined) continue;
            const moved = Object.assign(guest, { holder: HOLDERS[step.to]! });
            room.move(moved.holder, moved);
          }
          present = present.filter(({ gaveWay }) => !gaveWay);
          expect(room.size).toBe(present.length);
          expect(room.size).toBeLessThanOrEqual(places);
          expect(new Set(room)).toEqual(new Set(present));
          for (const holder of HOLDERS) {
            const size = present.filter((guest) => guest.holder === holder).length;
            expect(room.sizeOf(holder)).toBe(size);
          }
        }
      }),
    );
  });
});

/** For each level: the size of the holder's own group, and of the largest group of that level. */
function sizesBeside(present: readonly Guest[], holder: Holder): [own: number, largest: number][] {
  const found: [own: number, largest: number][] = [];
  for (let level = 0; level < holder.length; level++) {
    const sizes = new Map<string, number>([[holder[level]!, 0]]);
    for (const guest of present) {
      if (!holder.slice(0, level).every((name, at) => guest.holder[at] === name)) continue;
      const name = guest.holder[level]!;
      sizes.set(name, (sizes.get(name) ?? 0) + 1);
    }
    found.push([sizes.get(holder[level]!)!, Math.max(...sizes.values())]);
  }
  return found;
}

describe("the holder of an address", () => {
  it.each([
    ["192.0.2.77", ["192.0.2.0/24", "192.0.2.77"]],
    ["::ffff:192.0.2.77", ["192.0.2.0/24", "192.0.2.77"]],
    ["2001:db8:aaaa:bbcc::1", ["2001:db8:aaaa::/48", "2001:db8:aaaa:bb00::/56", "2001:db8:aaaa:bbcc::/64"]],
    ["2001:DB8:aaaa:bbcc:0:0:0:2%eth0", ["2001:db8:aaaa::/48", "2001:db8:aaaa:bb00::/56", "2001:db8:aaaa:bbcc::/64"]],
    ["not an address", ["not an address"]],
  ])("%s has the networks %j", (ip, networks) => {
    expect(networksOf(ip)).toEqual(networks);
    expect(addressHolder(ip)).toEqual(["anonymous", ...networks]);
  });
});
