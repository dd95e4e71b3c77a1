/** Which answers the near cache keeps, and for how long it uses them. */
import { describe, expect, it } from "vitest";
import { KeyDigests } from "../../../client/src/key-digest.ts";
import { EPOCH, Kind, keyId, NearWorld, rawKey, Verdict } from "./near-world.ts";

describe("an answer", () => {
  it("is kept under a stream, and judged without a call", () => {
    const world = new NearWorld();
    world.stream();
    world.verify(1);
    expect(world.judge(1)).toMatchObject({ verdict: "VALID", key: { id: keyId(1) }, ageMs: 0, isCounted: false });
    expect(world.cache.size).toBe(1);
  });

  it("is found by its whole raw key alone", () => {
    const world = new NearWorld();
    world.stream();
    world.verify(1);
    expect(world.verdict(2)).toBeUndefined();
    const other = new KeyDigests();
    expect(other.of(rawKey(1))).not.toBe(new KeyDigests().of(rawKey(1)));
  });

  it.each([
    ["of another epoch than the stream's", { epoch: 8n }],
    ["without an epoch", { epoch: 0n }],
    ["that must never be kept", { nearRules: 0 }],
    ["that needs rules of a later version", { nearRules: 2 }],
    ["below the stream's first whole position", { position: 99 }],
    ["without a position", { position: 0 }],
    ["without an age", { ageMs: undefined }],
    ["whose verdict this version does not know", { verdict: 99 as Verdict }],
    ["about credits, which version 1 of the rules does not know", { verdict: Verdict.CREDITS_EXHAUSTED }],
  ])("is not kept: one %s", (_, answer) => {
    const world = new NearWorld();
    world.stream();
    world.verify(1, answer);
    expect(world.cache.size).toBe(0);
    expect(world.verdict(1)).toBeUndefined();
  });

  it("is not kept before the first whole message of a stream", () => {
    const world = new NearWorld();
    const attempt = world.cache.openStream("");
    world.tell(attempt, { cursor: "", position: 100 });
    world.verify(1, { position: 1000 });
    expect(world.cache.size).toBe(0);
    world.tell(attempt, { position: 100 });
    world.verify(1, { position: 100 });
    expect(world.verdict(1)).toBe("VALID");
  });

  it("is not kept below the position at which its key or its owner was told", () => {
    const world = new NearWorld();
    const attempt = world.stream();
    world.tell(attempt, { position: 110, changes: [{ kind: Kind.KEY, subjectId: keyId(1) }] });
    world.tell(attempt, { position: 120, changes: [{ kind: Kind.OWNER, subjectId: "usr_other00000000000" }] });
    world.verify(1, { position: 109 });
    world.verify(2, { position: 119, key: { ownerId: "usr_other00000000000" } });
    expect(world.cache.size).toBe(0);
    world.verify(1, { position: 110 });
    world.verify(2, { position: 120, key: { ownerId: "usr_other00000000000" } });
    expect(world.cache.size).toBe(2);
  });

  it("is not kept by its own age either if the change was told before the stream ended", () => {
    const world = new NearWorld();
    const attempt = world.stream();
    world.tell(attempt, { position: 110, changes: [{ kind: Kind.KEY, subjectId: keyId(1) }] });
    world.cache.streamEnded(attempt);
    world.verify(1, { position: 109 });
    expect(world.cache.size).toBe(0);
  });

  it.each([
    ["resync", (world: NearWorld) => void world.stream({ position: 100 })],
    ["suspension", (world: NearWorld) => world.clock.suspend(60_000)],
    ["clear", (world: NearWorld) => world.cache.clear()],
  ])("is not kept if a %s overtook it", (_, overtake) => {
    const world = new NearWorld();
    world.stream();
    const exchange = world.cache.begin();
    overtake(world);
    world.stream({}, "a cursor");
    world.cache.keep(exchange, { apiKey: rawKey(1) }, world.response(1, { position: 200 }));
    expect(world.cache.size).toBe(0);
  });

  it("of an earlier position does not replace one of a later position", () => {
    const world = new NearWorld();
    world.stream();
    world.verify(1, { position: 120, key: { name: "new" } });
    world.verify(1, { position: 110, key: { name: "old" } });
    expect(world.judge(1)?.key?.name).toBe("new");
    world.verify(1, { position: 130, key: { name: "newest" } });
    expect(world.judge(1)?.key?.name).toBe("newest");
  });

  it.each([
    ["INVALID", { verdict: Verdict.INVALID, position: 1 }],
    ["a verdict that is not known", { verdict: 99 as Verdict, nearRules: 2 }],
    ["REVOKED, by another epoch", { verdict: Verdict.REVOKED, epoch: 8n }],
  ])("that says %s ends the record, also if it is not kept", (_, answer) => {
    const world = new NearWorld();
    world.stream();
    world.verify(1);
    world.verify(1, answer);
    expect(world.verdict(1)).toBeUndefined();
  });
});

describe("without a living stream, an answer", () => {
  it("is kept by its own age alone", () => {
    const world = new NearWorld();
    world.verify(1, { ageMs: 1000, position: 5 });
    world.clock.advance(3998);
    expect(world.verdict(1)).toBe("VALID");
    world.clock.advance(2);
    expect(world.verdict(1)).toBeUndefined();
  });

  it("of another epoch is kept after the stream ended, and no later stream makes it younger", () => {
    const world = new NearWorld();
    const attempt = world.stream();
    world.verify(1, { epoch: 8n });
    expect(world.cache.size).toBe(0);
    world.cache.streamEnded(attempt);
    world.verify(1, { epoch: 8n });
    const next = world.cache.openStream("a cursor");
    world.clock.advance(4000);
    world.tell(next);
    expect(world.verdict(1)).toBe("VALID");
    world.clock.advance(1000);
    world.tell(next);
    expect(world.verdict(1)).toBeUndefined();
  });

  it("of another epoch is not kept if the ended stream told a change of its key, because positions do not compare", () => {
    const world = new NearWorld();
    const attempt = world.stream();
    world.tell(attempt, { position: 110, changes: [{ kind: Kind.KEY, subjectId: keyId(1) }] });
    world.cache.streamEnded(attempt);
    world.verify(1, { epoch: 8n, position: 200 });
    expect(world.cache.size).toBe(0);
  });

  it("is dropped by a change of its key whatever its position", () => {
    const world = new NearWorld();
    world.stream();
    const ended = world.stream({}, "a cursor");
    world.cache.streamEnded(ended);
    const lone = new NearWorld();
    lone.verify(1, { position: 1000 });
    const attempt = lone.cache.openStream("");
    lone.tell(attempt, { cursor: "", changes: [{ kind: Kind.KEY, subjectId: keyId(1) }] });
    expect(lone.cache.size).toBe(0);
  });
});

describe("a record", () => {
  it("is used while a message of the stream is younger than 5 s", () => {
    const world = new NearWorld();
    const attempt = world.stream();
    world.verify(1);
    for (let second = 1; second <= 60; second++) {
      world.clock.advance(1000);
      world.tell(attempt);
    }
    expect(world.verdict(1)).toBe("VALID");
    world.clock.advance(4980);
    expect(world.verdict(1)).toBe("VALID");
    world.clock.advance(20);
    expect(world.verdict(1)).toBeUndefined();
    world.tell(attempt);
    expect(world.verdict(1)).toBe("VALID");
  });

  it("gets old under a stream whose messages arrive late, however many arrive", () => {
    const world = new NearWorld();
    const attempt = world.stream();
    world.verify(1);
    // A proxy holds each message for 10 s.
    for (let second = 1; second <= 30; second++) {
      world.clock.advance(1000);
      world.tell(attempt, { elapsedMs: second * 1000 - 10_000 });
      if (second >= 5) expect(world.verdict(1)).toBeUndefined();
    }
  });

  it("takes 200 ppm off the time that the service measured", () => {
    const world = new NearWorld();
    const attempt = world.stream();
    world.clock.advance(600_000);
    world.tell(attempt);
    expect(world.cache.streamAgeMs).toBeCloseTo(120, 5);
  });

  it("counts its age from the sending of the call, less the age that the answer tells", () => {
    const world = new NearWorld();
    const exchange = world.cache.begin();
    world.clock.advance(3000);
    world.cache.keep(exchange, { apiKey: rawKey(1) }, world.response(1, { ageMs: 1000 }));
    expect(world.judge(1)?.ageMs).toBeGreaterThanOrEqual(4000);
    expect(world.judge(1)?.ageMs).toBeLessThan(4002);
    world.clock.advance(1000);
    expect(world.verdict(1)).toBeUndefined();
  });

  it("is used for no longer than the answer allows, or than the option allows", () => {
    const declared = new NearWorld();
    declared.verify(1, { maxStalenessMs: 1000 });
    declared.clock.advance(1000);
    expect(declared.verdict(1)).toBeUndefined();
    const chosen = new NearWorld({ maxStalenessMs: 500 });
    chosen.verify(1, { maxStalenessMs: 65_000 });
    chosen.clock.advance(499);
    expect(chosen.verdict(1)).toBe("VALID");
    chosen.clock.advance(1);
    expect(chosen.verdict(1)).toBeUndefined();
  });

  it("lives for 10 minutes at most, give or take a fifth, without a new answer", () => {
    for (const [random, lifeMs] of [
      [0, 480_000],
      [0.5, 600_000],
      [0.999_999, 719_999],
    ] as const) {
      const world = new NearWorld({ random: () => random });
      const attempt = world.stream();
      world.verify(1);
      world.clock.advance(lifeMs - 1);
      world.tell(attempt);
      expect(world.verdict(1)).toBe("VALID");
      world.clock.advance(2);
      world.tell(attempt);
      expect(world.verdict(1)).toBeUndefined();
      expect(world.cache.judgeStale({ apiKey: rawKey(1) }, 300_000)).toBeUndefined();
    }
  });

  it("is dropped by a later change of its key or its owner, and stays under a change that it contains", () => {
    const world = new NearWorld();
    const attempt = world.stream();
    world.verify(1, { position: 110 });
    world.verify(2, { position: 110, key: { ownerId: "usr_other00000000000" } });
    world.tell(attempt, { position: 110, changes: [{ kind: Kind.KEY, subjectId: keyId(1) }] });
    expect(world.verdict(1)).toBe("VALID");
    world.tell(attempt, { position: 111, changes: [{ kind: Kind.KEY, subjectId: keyId(1) }] });
    expect([world.verdict(1), world.verdict(2)]).toEqual([undefined, "VALID"]);
    world.tell(attempt, { position: 112, changes: [{ kind: Kind.OWNER, subjectId: "usr_other00000000000" }] });
    expect(world.verdict(2)).toBeUndefined();
  });

  it("is dropped by a part of a set of changes, before the set is whole", () => {
    const world = new NearWorld();
    const attempt = world.stream();
    world.verify(1);
    world.tell(attempt, { cursor: "", position: 110, changes: [{ kind: Kind.KEY, subjectId: keyId(1) }] });
    expect(world.cache.size).toBe(0);
  });

  it("is checked by a call once a minute while it is accepted, and not while it is refused", () => {
    const world = new NearWorld({ random: () => 0 });
    const attempt = world.stream();
    world.verify(1);
    const dueAfter = (ms: number, request = {}) => {
      world.clock.advance(ms);
      world.tell(attempt);
      return world.judge(1, request)?.isRecheckDue;
    };
    expect(dueAfter(59_999)).toBe(false);
    expect(dueAfter(1, { requiredScopes: ["write"] })).toBe(false);
    expect([dueAfter(0), dueAfter(0), dueAfter(59_999), dueAfter(1)]).toEqual([true, false, false, true]);
    world.verify(1);
    expect(dueAfter(59_999)).toBe(false);
  });

  it("is for outages alone once it is older than its bound, and up to the age that the user allows", () => {
    const world = new NearWorld();
    world.verify(1);
    world.clock.advance(29_990);
    const request = { apiKey: rawKey(1) };
    expect(world.cache.judge(request)).toBeUndefined();
    expect(world.cache.judgeStale(request, 0)).toBeUndefined();
    expect(world.cache.judgeStale(request, 30_000)).toMatchObject({
      verdict: "VALID",
      ageMs: expect.closeTo(29_990, 0),
    });
    world.clock.advance(10);
    expect(world.cache.judgeStale(request, 30_000)).toBeUndefined();
  });
});

describe("a suspension of this machine", () => {
  it("makes every record old, until a stream that was opened later proves it", () => {
    const world = new NearWorld();
    const attempt = world.stream();
    world.verify(1);
    world.clock.suspend(2000);
    expect(world.verdict(1)).toBeUndefined();
    expect(world.cache.mustReopen(attempt)).toBe(true);
    // It took a minute, of which the host's clock shows 2 s.
    world.tell(attempt, { elapsedMs: 60_000 });
    expect(world.verdict(1)).toBeUndefined();
    expect(world.cache.streamAgeMs).toBe(Number.POSITIVE_INFINITY);
    const next = world.stream({}, "a cursor");
    expect(world.cache.mustReopen(next)).toBe(false);
    expect(world.verdict(1)).toBe("VALID");
  });

  it("of a second does not show, and a clock that is set back makes nothing younger", () => {
    const world = new NearWorld();
    const attempt = world.stream();
    world.verify(1);
    world.clock.suspend(1000);
    expect(world.verdict(1)).toBe("VALID");
    world.clock.jump(-3_600_000);
    world.clock.advance(5000);
    expect(world.verdict(1)).toBeUndefined();
    world.tell(attempt);
    expect(world.verdict(1)).toBe("VALID");
  });

  it("counts in the age of a record that is used in an outage", () => {
    const world = new NearWorld();
    world.verify(1);
    world.clock.suspend(60_000);
    expect(world.cache.judgeStale({ apiKey: rawKey(1) }, 60_000)).toBeUndefined();
    expect(world.cache.judgeStale({ apiKey: rawKey(1) }, 61_000)).toMatchObject({ verdict: "VALID" });
  });
});

describe("a stream", () => {
  it("drops everything at a resync, at a start without a cursor, and at a message of another epoch", () => {
    for (const restart of ["resync", "start", "epoch", "resumed epoch"] as const) {
      const world = new NearWorld();
      const attempt = world.stream();
      world.verify(1);
      world.verify(2, { verdict: Verdict.INVALID });
      const told =
        restart === "resync"
          ? world.tell(attempt, { resync: true })
          : restart === "epoch"
            ? world.tell(attempt, { epoch: 8n })
            : world.tell(world.cache.openStream(restart === "start" ? "" : "a cursor"), {
                epoch: restart === "start" ? EPOCH : 8n,
              });
      expect(told.resync, restart).toBe(true);
      expect([world.verdict(1), world.verdict(2)], restart).toEqual([undefined, undefined]);
    }
  });

  it("resumes without dropping anything", () => {
    const world = new NearWorld();
    const attempt = world.stream();
    world.verify(1);
    world.cache.streamEnded(attempt);
    expect(world.tell(world.cache.openStream(world.cache.cursor)).resync).toBe(false);
    expect(world.verdict(1)).toBe("VALID");
  });

  it("resumes from the last cursor that was not empty", () => {
    const world = new NearWorld();
    expect(world.cache.cursor).toBe("");
    const attempt = world.stream({ cursor: "first" });
    world.tell(attempt, { cursor: "" });
    expect(world.cache.cursor).toBe("first");
    world.tell(attempt, { cursor: "second" });
    expect(world.cache.cursor).toBe("second");
  });

  it("drops everything, and refuses answers below, for a change of a kind that it does not know", () => {
    const world = new NearWorld();
    const attempt = world.stream();
    world.verify(1);
    world.tell(attempt, { position: 110, changes: [{ kind: 99 as Kind, subjectId: "new_thing" }] });
    expect(world.cache.size).toBe(0);
    world.verify(1, { position: 109 });
    expect(world.cache.size).toBe(0);
    world.verify(1, { position: 110 });
    expect(world.verdict(1)).toBe("VALID");
  });

  it("refuses answers below the changes that it can no longer remember", () => {
    const world = new NearWorld();
    const attempt = world.stream();
    const changes = (from: number, count: number) =>
      Array.from({ length: count }, (_, n) => ({ kind: Kind.KEY, subjectId: keyId(from + n), position: from + n }));
    world.tell(attempt, { position: 10_199, changes: changes(200, 10_000) });
    world.verify(9_000_000, { position: 199 });
    expect(world.cache.size).toBe(1);
    world.verify(200, { position: 199 });
    expect(world.cache.size).toBe(1);
    world.tell(attempt, { position: 10_200, changes: changes(10_200, 1) });
    world.verify(9_000_001, { position: 199 });
    expect(world.cache.size).toBe(1);
    world.verify(9_000_001, { position: 10_200 });
    expect(world.cache.size).toBe(2);
  });

  it("lowers no floor, and forgets no change, at a resync of the same epoch", () => {
    const world = new NearWorld();
    const attempt = world.stream({ position: 200 });
    world.tell(attempt, { position: 210, changes: [{ kind: Kind.KEY, subjectId: keyId(1) }] });
    world.stream({ position: 150 });
    world.verify(1, { position: 209 });
    world.verify(2, { position: 199 });
    expect(world.cache.size).toBe(0);
    world.verify(2, { position: 200 });
    expect(world.cache.size).toBe(1);
  });

  it("of an older attempt changes nothing any more once a newer one tells of another epoch, but drops what it names", () => {
    const world = new NearWorld();
    const old = world.stream();
    const young = world.stream({ epoch: 8n }, "a cursor");
    world.verify(1, { epoch: 8n });
    world.verify(2, { epoch: 8n });
    world.tell(old, { position: 50, changes: [{ kind: Kind.KEY, subjectId: keyId(1) }] });
    expect([world.verdict(1), world.verdict(2)]).toEqual([undefined, "VALID"]);
    world.clock.advance(5000);
    world.tell(old);
    expect(world.verdict(2)).toBeUndefined();
    world.tell(young, { epoch: 8n });
    expect(world.verdict(2)).toBe("VALID");
    world.tell(old, { resync: true });
    expect(world.verdict(2)).toBeUndefined();
    world.verify(2, { epoch: 8n });
    expect(world.verdict(2)).toBe("VALID");
  });

  it("keeps records fresh beside the one that follows it", () => {
    const world = new NearWorld();
    const old = world.stream();
    world.verify(1);
    world.clock.advance(4000);
    const young = world.stream({ position: 90 }, "a cursor");
    world.clock.advance(4000);
    expect(world.verdict(1)).toBe("VALID");
    world.tell(old, { position: 110, changes: [{ kind: Kind.KEY, subjectId: keyId(2) }] });
    world.cache.streamEnded(old);
    world.verify(2, { position: 109 });
    expect(world.verdict(2)).toBeUndefined();
    world.clock.advance(4000);
    world.tell(young, { position: 120 });
    expect(world.verdict(1)).toBe("VALID");
  });
});
