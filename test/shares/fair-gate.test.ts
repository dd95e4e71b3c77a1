import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { FairGate, type GatePass } from "../../src/shares/fair-gate.ts";
import type { Holder } from "../../src/shares/holder.ts";

const NO_BOUND = () => Number.POSITIVE_INFINITY;

/** A gate that records the names of guests that entered, in order. */
function gateOf(options: Partial<ConstructorParameters<typeof FairGate>[0]> = {}) {
  const gate = new FairGate({ places: 2, mostPlaces: NO_BOUND, mostWaiting: NO_BOUND, queue: 1000, ...options });
  const entered: string[] = [];
  const gaveWay: string[] = [];
  const enter = (holder: Holder, name = holder.join("/")) =>
    gate.enter(holder, { onEnter: () => entered.push(name), onGiveWay: () => gaveWay.push(name) });
  return { gate, entered, gaveWay, enter };
}

describe("a fair gate", () => {
  it("serves waiting holders in turn, even if one of them sent several guests first", () => {
    const { entered, enter } = gateOf({ places: 1 });
    const first = enter(["a"], "a0")!;
    const passes = [enter(["a"], "a1"), enter(["a"], "a2"), enter(["b"], "b1"), enter(["c"], "c1")];
    expect(entered).toEqual(["a0"]);
    first.leave();
    for (const pass of [passes[0], passes[2], passes[3], passes[1]]) pass!.leave();
    expect(entered).toEqual(["a0", "a1", "b1", "c1", "a2"]);
  });

  it("serves a network with many addresses as one holder among the networks", () => {
    const { entered, enter } = gateOf({ places: 1 });
    const blocker = enter(["x"])!;
    const crowd = Array.from({ length: 5 }, (_, at) => enter(["crowd", `address ${at}`]));
    const single = enter(["single", "address"]);
    blocker.leave();
    crowd[0]!.leave();
    expect(entered).toEqual(["x", "crowd/address 0", "single/address"]);
    single!.leave();
    expect(entered.at(-1)).toBe("crowd/address 1");
  });

  it("gives a holder no more than its own places while others are free", () => {
    const { entered, enter } = gateOf({ places: 10, mostPlaces: () => 4 });
    for (let i = 0; i < 8; i++) enter(["a"]);
    expect(entered.length).toBe(4);
    enter(["b"]);
    expect(entered.length).toBe(5);
  });

  it("refuses a guest whose group has its maximum waiting, and never calls that guest", () => {
    const { entered, enter } = gateOf({ places: 1, mostWaiting: () => 2 });
    const first = enter(["a"], "a0")!;
    const second = enter(["a"], "a1")!;
    const third = enter(["a"], "a2")!;
    expect(enter(["a"], "a3")).toBeUndefined();
    expect(enter(["b"], "b1")).toBeDefined();
    for (const pass of [first, second, third]) pass.leave();
    expect(entered).not.toContain("a3");
  });

  it("lets one wait beyond that which goes on with what was let in before", () => {
    const { gate } = gateOf({ places: 1, mostWaiting: () => 1 });
    const entered: string[] = [];
    const guest = (name: string) => ({ onEnter: () => entered.push(name), onGiveWay: () => {} });
    const first = gate.enter(["a"], guest("a0"))!;
    const second = gate.enter(["a"], guest("a1"))!;
    expect(gate.enter(["a"], guest("a2"))).toBeUndefined();
    expect(gate.enter(["a"], guest("a3"), true)).toBeDefined();
    first.leave();
    second.leave();
    expect(entered).toEqual(["a0", "a1", "a3"]);
  });

  it("lets the holder with the most waiting guests give way when the queue is full", () => {
    const { gaveWay, enter } = gateOf({ places: 1, queue: 4 });
    enter(["x"]);
    for (let i = 0; i < 4; i++) enter(["hog"], `hog ${i}`);
    expect(enter(["hog"], "hog 4")).toBeUndefined();
    expect(enter(["b"])).toBeDefined();
    expect(gaveWay).toEqual(["hog 0"]);
  });

  it("gives a holder fewer places while the gate is shared, and all of them again afterwards", () => {
    const { gate, entered, enter } = gateOf({ places: 10, mostPlaces: () => 4, mostPlacesShared: () => 2 });
    const passes = Array.from({ length: 8 }, (_, at) => enter(["hog"], `hog ${at}`)!);
    gate.isShared = true;
    passes[0]!.leave();
    passes[1]!.leave();
    expect([gate.inside, entered.length]).toEqual([2, 4]);
    passes[2]!.leave();
    expect([gate.inside, entered.length]).toEqual([2, 5]);
    enter(["other"]);
    expect(entered.at(-1)).toBe("other");
    gate.isShared = false;
    expect(entered.length).toBe(8);
  });

  it("forgets holders without guests", () => {
    const { gate, enter } = gateOf();
    const passes = Array.from({ length: 100 }, (_, at) => enter(["anonymous", `${at}`]));
    for (const pass of passes.toReversed()) pass!.leave();
    expect([gate.inside, gate.waiting]).toEqual([0, 0]);
    for (const pass of passes) pass!.leave();
    expect([gate.inside, gate.waiting]).toEqual([0, 0]);
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
    fc.record({ share: fc.boolean() }),
  ),
  { maxLength: 200 },
);
const MOST_PLACES = (group: readonly string[]) => (group[0] === "a" ? 3 : 4);
const MOST_PLACES_SHARED = (group: readonly string[]) => (group.length === 1 ? MOST_PLACES(group) : 2);

interface Guest {
  readonly holder: Holder;
  state: "waiting" | "inside" | "gone";
  pass: GatePass | undefined;
}

/** The number of guests of a group in a state. */
function count(guests: readonly Guest[], group: readonly string[], state: Guest["state"]): number {
  return guests.filter((guest) => guest.state === state && group.every((name, at) => guest.holder[at] === name)).length;
}

function groupsOf(holder: Holder): string[][] {
  return holder.map((_, at) => holder.slice(0, at + 1));
}

describe("a fair gate, with random guests,", () => {
  it("never exceeds a bound, and lets no guest wait for a place that it may have", () => {
    fc.assert(
      fc.property(steps, fc.integer({ min: 1, max: 6 }), (plan, places) => {
        const gate = new FairGate({
          places,
          mostPlaces: MOST_PLACES,
          mostPlacesShared: MOST_PLACES_SHARED,
          mostWaiting: () => 8,
          queue: 12,
        });
        const guests: Guest[] = [];
        for (const step of plan) {
          const before = guests.filter(({ state }) => state === "inside");
          if ("share" in step) {
            gate.isShared = step.share;
          } else if ("enter" in step) {
            const guest: Guest = { holder: HOLDERS[step.enter]!, state: "waiting", pass: undefined };
            guests.push(guest);
            guest.pass = gate.enter(guest.holder, {
              onEnter: () => (guest.state = "inside"),
              onGiveWay: () => (guest.state = "gone"),
            });
            if (guest.pass === undefined) guest.state = "gone";
          } else {
            const present = guests.filter(({ state }) => state !== "gone");
            const guest = present[step.leave % present.length];
            if (guest === undefined) continue;
            guest.state = "gone";
            guest.pass!.leave();
          }
          const most = gate.isShared ? MOST_PLACES_SHARED : MOST_PLACES;
          for (const guest of guests.filter(({ state }) => state === "inside")) {
            if (before.includes(guest)) continue;
            // A guest that entered in this step kept to the bound of this moment.
            for (const group of groupsOf(guest.holder)) {
              expect(count(guests, group, "inside")).toBeLessThanOrEqual(most(group));
            }
          }
          expect(count(guests, [], "inside")).toBe(gate.inside);
          expect(count(guests, [], "waiting")).toBe(gate.waiting);
          expect(gate.inside).toBeLessThanOrEqual(places);
          expect(gate.waiting).toBeLessThanOrEqual(12);
          for (const { holder, state } of guests) {
            const groups = groupsOf(holder);
            for (const group of groups) expect(count(guests, group, "inside")).toBeLessThanOrEqual(MOST_PLACES(group));
            if (state !== "waiting") continue;
            const mayEnter =
              gate.inside < places && groups.every((group) => count(guests, group, "inside") < most(group));
            expect(mayEnter).toBe(false);
          }
        }
      }),
    );
  });

  it("starves no holder: a waiting holder is served before any other has had two more turns", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 4 }), { minLength: 1, maxLength: 60 }), (arrivals) => {
        const gate = new FairGate({ places: 1, mostPlaces: NO_BOUND, mostWaiting: NO_BOUND, queue: 1000 });
        const order: string[] = [];
        const passes: GatePass[] = [];
        const left = new Set<GatePass>();
        for (const holder of ["first", ...arrivals.map((at) => `holder ${at}`)]) {
          passes.push(gate.enter([holder], { onEnter: () => order.push(holder), onGiveWay: () => {} })!);
        }
        const waiting = new Map<string, number>();
        for (const at of arrivals) waiting.set(`holder ${at}`, (waiting.get(`holder ${at}`) ?? 0) + 1);
        for (let current = inside(passes, left); current !== undefined; current = inside(passes, left)) {
          left.add(current);
          current.leave();
        }
        // In each round, every holder that still waits is served once.
        let at = 1;
        while (waiting.size > 0) {
          const round = order.slice(at, at + waiting.size);
          expect(new Set(round).size).toBe(waiting.size);
          at += waiting.size;
          for (const [holder, more] of [...waiting]) {
            if (more === 1) waiting.delete(holder);
            else waiting.set(holder, more - 1);
          }
        }
      }),
    );
  });
});

function inside(passes: readonly GatePass[], left: ReadonlySet<GatePass>): GatePass | undefined {
  return passes.find((pass) => pass.isInside && !left.has(pass));
}
