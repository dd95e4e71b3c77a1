import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type LockPass, NamedLocks } from "../../src/shares/named-locks.ts";

/** Locks with a record of who entered, in order. */
function locks() {
  const named = new NamedLocks();
  const entered: string[] = [];
  const enter = (visitor: string, ...names: string[]) => named.enter(names, () => entered.push(visitor));
  return { named, entered, enter };
}

describe("locks by name", () => {
  it("let one in after the other, in the order in which they came", () => {
    const { entered, enter } = locks();
    const first = enter("first", "a");
    const second = enter("second", "a");
    enter("third", "a");
    expect(entered).toEqual(["first"]);
    first.leave();
    expect(entered).toEqual(["first", "second"]);
    second.leave();
    expect(entered).toEqual(["first", "second", "third"]);
  });

  it("of different names are independent", () => {
    const { entered, enter } = locks();
    enter("first", "a");
    enter("second", "b");
    expect(entered).toEqual(["first", "second"]);
  });

  it("let in at once a visitor without names, and one that gives a name twice", () => {
    const { entered, enter } = locks();
    enter("none");
    enter("twice", "a", "a");
    expect(entered).toEqual(["none", "twice"]);
  });

  it("never deadlock, in whichever order they are named", () => {
    const { entered, enter } = locks();
    const first = enter("first", "a", "b");
    const second = enter("second", "b", "a");
    first.leave();
    second.leave();
    expect(entered).toEqual(["first", "second"]);
  });

  it("are given back by a visitor that stops waiting, including those that it holds", () => {
    const { entered, enter } = locks();
    enter("holder", "b");
    const waiting = enter("waiting", "a", "b");
    enter("behind", "a");
    expect(entered).toEqual(["holder"]);
    waiting.leave();
    expect(entered).toEqual(["holder", "behind"]);
  });

  it("are forgotten when the last visitor has left; leaving twice does no harm", () => {
    const { named, enter } = locks();
    const visitors = [enter("first", "a", "b"), enter("second", "b", "c"), enter("third", "c")];
    for (const visitor of visitors) visitor.leave();
    for (const visitor of visitors) visitor.leave();
    expect(named.size).toBe(0);
  });
});

interface Visitor {
  readonly names: readonly string[];
  state: "waiting" | "inside" | "gone";
  pass: LockPass | undefined;
}

const names = fc.subarray(["a", "b", "c", "d"]);
const steps = fc.array(fc.oneof(fc.record({ enter: names }), fc.record({ leave: fc.nat(1000) })), { maxLength: 120 });

describe("locks by name, with random visitors", () => {
  it("never let in two visitors that share a name, and let every visitor in at last", () => {
    fc.assert(
      fc.property(steps, (plan) => {
        const named = new NamedLocks();
        const visitors: Visitor[] = [];
        const present = () => visitors.filter(({ state }) => state !== "gone");
        for (const step of plan) {
          if ("enter" in step) {
            const visitor: Visitor = { names: step.enter, state: "waiting", pass: undefined };
            visitors.push(visitor);
            visitor.pass = named.enter(step.enter, () => {
              visitor.state = "inside";
            });
          } else {
            const visitor = present()[step.leave % present().length];
            if (visitor === undefined) continue;
            visitor.state = "gone";
            visitor.pass!.leave();
          }
          const held = present().flatMap((each) => (each.state === "inside" ? each.names : []));
          expect(new Set(held).size).toBe(held.length);
          // A visitor waits only for another that is present and wants one of the same names.
          for (const one of present().filter(({ state }) => state === "waiting")) {
            const others = present().filter(
              (each) => each !== one && each.names.some((name) => one.names.includes(name)),
            );
            expect(others.length).toBeGreaterThan(0);
          }
        }
        while (present().length > 0) {
          const inside = present().find(({ state }) => state === "inside");
          expect(inside, "a visitor is inside while another one waits").toBeDefined();
          inside!.state = "gone";
          inside!.pass!.leave();
        }
        expect(named.size).toBe(0);
      }),
    );
  });
});
