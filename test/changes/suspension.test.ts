/** A suspended machine: its monotonic clock stood still, while all other clocks went on. */
import { describe, expect, it } from "vitest";
import { DatabaseClock } from "../../src/changes/database-clock.ts";
import { DomainError } from "../../src/lib/errors.ts";
import { errorThrownBy } from "../support/errors.ts";
import { StandingClock } from "../support/shifted-clock.ts";
import { pending, setUp } from "./thing-cache.ts";

const UNREACHABLE = new DomainError("DATABASE_UNAVAILABLE", "away");
const unreachable = async () => {
  throw UNREACHABLE;
};

describe("a copy from before a suspension", () => {
  it.each([
    ["an hour", 3_600_000],
    ["2 s, although it is younger than 5 s", 2000],
  ])("is read again after %s, and a poll makes all other copies fresh", async (_, ms) => {
    const { clock, cache, feed, loading } = setUp();
    for (const id of ["a", "b"]) await cache.get(id, loading("old", id));
    expect(cache.fresh("a")).toMatchObject({ record: { value: "old" } });
    clock.suspend(ms);
    expect(cache.fresh("a")).toBeUndefined();
    expect(await cache.get("a", loading("new", "a"))).toMatchObject({ record: { value: "new" }, source: "database" });
    expect(cache.fresh("b")).toBeUndefined();
    feed.freshAtMs = clock.elapsedMs();
    expect(cache.fresh("b")).toMatchObject({ record: { value: "old" } });
  });

  it("is not used if it is an absence either", async () => {
    const { clock, cache, loading } = setUp();
    await cache.get("a", loading(undefined));
    expect(cache.fresh("a")).toMatchObject({ record: undefined });
    clock.suspend(2000);
    expect(cache.fresh("a")).toBeUndefined();
    expect((await cache.get("a", loading("issued", "a"))).record).toMatchObject({ value: "issued" });
  });

  it("is not made fresh by a poll that was sent before the suspension", async () => {
    const { clock, cache, feed, loading } = setUp();
    await cache.get("a", loading("old", "a"));
    const sentAtMs = clock.elapsedMs();
    clock.suspend(60_000);
    feed.freshAtMs = sentAtMs;
    expect(cache.fresh("a")).toBeUndefined();
  });

  it("is read once more if its read was under way during the suspension", async () => {
    const { clock, cache, loading, loads } = setUp();
    const first = pending();
    let calls = 0;
    const answer = cache.get("a", () => (calls++ === 0 ? first.load() : loading("new", "a")()));
    clock.suspend(60_000);
    first.resolve({ value: "old", tags: ["a"] });
    expect((await answer).record).toMatchObject({ value: "new" });
    expect(loads()).toBe(1);
  });

  it("is served with its true age while the database is unreachable, and at most for the allowed time", async () => {
    const { clock, cache, loading } = setUp(10, 60_000);
    await cache.get("a", loading("old", "a"));
    clock.suspend(30_000);
    const stale = await cache.get("a", unreachable);
    expect(stale).toMatchObject({ record: { value: "old" }, source: "cache" });
    expect(clock.elapsedMs() - stale.asOfMs).toBeGreaterThanOrEqual(30_000);
    clock.suspend(36_000);
    await expect(cache.get("a", unreachable)).rejects.toMatchObject({ reason: "DATABASE_UNAVAILABLE" });
  });

  it("costs only one read if the host's clock was only set forward", async () => {
    const { clock, cache, loading } = setUp();
    await cache.get("a", loading("good", "a"));
    clock.jump(3_600_000);
    expect((await cache.get("a", loading("good", "a"))).record).toMatchObject({ value: "good" });
    expect(cache.fresh("a")).toMatchObject({ record: { value: "good" } });
    clock.jump(-3_600_000);
    expect(cache.fresh("a")).toMatchObject({ record: { value: "good" } });
  });
});

describe("the database's time after a suspension", () => {
  const AHEAD_MS = 1e12;
  function known() {
    const clock = new StandingClock();
    const databaseClock = new DatabaseClock(clock);
    const databaseMs = () => clock.monotonicMs() + clock.suspendedMs + AHEAD_MS;
    const ask = () => databaseClock.observe(databaseMs(), clock.elapsedMs());
    ask();
    const startMs = databaseClock.nowMs();
    const isOver = (afterMs: number) => databaseClock.judge((nowMs) => nowMs >= startMs + afterMs);
    return { clock, databaseClock, databaseMs, ask, isOver };
  }

  it("is unknown until an answer comes: only judgements that depend on it are UNAVAILABLE", () => {
    const { clock, ask, isOver } = known();
    clock.suspend(60_000);
    clock.elapsedMs();
    expect(errorThrownBy(() => isOver(30_000))).toMatchObject({ reason: "DATABASE_UNAVAILABLE" });
    expect([isOver(0), isOver(3_600_000)]).toEqual([true, false]);
    ask();
    expect([isOver(30_000), isOver(3_600_000)]).toEqual([true, false]);
  });

  it("stays unknown after an answer to a statement that was sent before the suspension", () => {
    const { clock, databaseClock, databaseMs, ask, isOver } = known();
    const [sentAtMs, answer] = [clock.elapsedMs(), databaseMs()];
    clock.suspend(60_000);
    clock.elapsedMs();
    databaseClock.observe(answer, sentAtMs);
    expect(errorThrownBy(() => isOver(30_000))).toMatchObject({ reason: "DATABASE_UNAVAILABLE" });
    ask();
    expect(isOver(30_000)).toBe(true);
  });

  it("is unchanged if the host's clock was only set forward", () => {
    const { clock, ask, isOver } = known();
    clock.jump(3_600_000);
    clock.elapsedMs();
    expect(isOver(7_200_000)).toBe(false);
    ask();
    expect([isOver(0), isOver(30_000)]).toEqual([true, false]);
  });
});
