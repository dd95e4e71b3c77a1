import { describe, expect, it } from "vitest";
import { DomainError } from "../../src/lib/errors.ts";
import { pending, setUp } from "./thing-cache.ts";

describe("RecordCache in a process that stood still", () => {
  it("reads again after a result waited for 6 s because this process stood still", async () => {
    const { clock, cache, loading } = setUp();
    const { load, resolve } = pending();
    let reads = 0;
    const early = cache.get("a", () => (reads++ === 0 ? load() : loading("new")()));
    clock.advance(6000);
    resolve({ value: "old", tags: [] });
    expect((await early).record?.value).toBe("new");
  });

  it("does not count a timeout as an outage if this process stood still meanwhile", async () => {
    const { clock, breaker, cache, loading } = setUp();
    await cache.get("a", loading("old"));
    clock.advance(5100);
    const { load, reject } = pending();
    let reads = 0;
    const early = cache.get("a", () => (reads++ === 0 ? load() : loading("new")()));
    clock.advance(6000);
    reject(new DomainError("DATABASE_UNAVAILABLE", "away"));
    expect((await early).record?.value).toBe("new");
    expect(breaker.isOpen).toBe(false);
  });

  it("counts a failure as an outage if this process was slow but never stood still", async () => {
    const { clock, turn, breaker, cache, loading } = setUp();
    await cache.get("a", loading("old"));
    clock.advance(5100);
    const { load, reject } = pending();
    let reads = 0;
    const early = cache.get("a", () => {
      reads++;
      return load();
    });
    for (let n = 0; n < 5; n++) turn(80);
    reject(new DomainError("DATABASE_UNAVAILABLE", "away"));
    expect((await early).record?.value).toBe("old");
    expect(reads).toBe(1);
    expect(breaker.isOpen).toBe(true);
  });

  it("tries again once if this process stood still, and counts the second failure as an outage", async () => {
    const { clock, breaker, cache, loading } = setUp();
    await cache.get("a", loading("old"));
    clock.advance(5100);
    let reads = 0;
    const stalling = async () => {
      if (++reads > 5) throw new Error("again and again");
      clock.advance(400);
      throw new DomainError("DATABASE_UNAVAILABLE", "away");
    };
    expect((await cache.get("a", stalling)).record?.value).toBe("old");
    expect(reads).toBe(2);
    expect(breaker.isOpen).toBe(true);
  });

  it("counts a failure as an outage if this process stood still only before the read began", async () => {
    const { clock, breaker, cache, loading } = setUp();
    const busy = pending();
    void cache.get("busy", busy.load);
    await cache.get("a", loading("old"));
    clock.advance(5100);
    const { load, reject } = pending();
    const early = cache.get("a", load);
    clock.advance(50);
    reject(new DomainError("DATABASE_UNAVAILABLE", "away"));
    expect((await early).record?.value).toBe("old");
    expect(breaker.isOpen).toBe(true);
  });

  it("gives a caller that joined a read after a stall the same answer as the caller that began it", async () => {
    const { clock, turn, breaker, cache } = setUp();
    const { load, reject } = pending();
    let reads = 0;
    const readTwice = async () => (reads++ === 0 ? load() : { value: "new", tags: [] });
    const early = cache.get("a", readTwice);
    clock.advance(400);
    turn(0);
    const joined = cache.get("a", readTwice);
    reject(new DomainError("DATABASE_UNAVAILABLE", "away"));
    expect([(await early).record?.value, (await joined).record?.value]).toEqual(["new", "new"]);
    expect(breaker.isOpen).toBe(false);
    expect(reads).toBe(2);
  });
});

describe("RecordCache without its database", () => {
  const away = async (): Promise<undefined> => {
    throw new DomainError("DATABASE_UNAVAILABLE", "away");
  };

  it("serves a stale record with its true age while the database is unreachable, up to the bound", async () => {
    const { clock, breaker, cache, loading } = setUp(10, 60_000);
    const { asOfMs } = await cache.get("a", loading("x"));
    expect(cache.maxStalenessMs).toBe(5000);
    clock.advance(10_000);
    const stale = await cache.get("a", away);
    expect(stale).toMatchObject({ record: { value: "x" }, asOfMs, source: "cache" });
    expect(breaker.isOpen).toBe(true);
    expect(cache.maxStalenessMs).toBe(65_000);
    clock.advance(54_900);
    expect((await cache.get("a", away)).record?.value).toBe("x");
    clock.advance(200);
    await expect(cache.get("a", away)).rejects.toMatchObject({ reason: "DATABASE_UNAVAILABLE" });
    expect(cache.reads).toEqual({ hit: 0, miss: 2, stale: 2, absent: 0 });
  });

  it("lets no caller's read try an unreachable database, and answers every caller at once", async () => {
    const { clock, turn, breaker, cache, loading } = setUp();
    await cache.get("a", loading("x"));
    clock.advance(10_000);
    await cache.get("a", away);
    let tries = 0;
    const hanging = () => {
      tries++;
      return new Promise<undefined>(() => {});
    };
    for (let n = 0; n < 50; n++) expect((await cache.get("a", hanging)).record?.value).toBe("x");
    turn(501);
    for (let n = 0; n < 50; n++) expect((await cache.get("a", hanging)).record?.value).toBe("x");
    await expect(cache.get("unknown", hanging)).rejects.toMatchObject({ reason: "DATABASE_UNAVAILABLE" });
    expect(tries).toBe(0);
    expect(breaker.isOpen).toBe(true);
  });

  it("reads several records together once the database answers, and none of them before", async () => {
    const { endOutage, cache, loading, loads } = setUp();
    await expect(cache.get("a", away)).rejects.toMatchObject({ reason: "DATABASE_UNAVAILABLE" });
    const together = () => {
      const wanted = ["a", "b", "c"].map((id) => ({ id, subjectId: id }));
      return cache.getMany(wanted, (missing) => missing.map(({ id }) => loading(id)()));
    };
    expect((await together()).map(({ status }) => status)).toEqual(Array(3).fill("rejected"));
    expect(loads()).toBe(0);
    await endOutage();
    expect((await together()).map(({ status }) => status)).toEqual(Array(3).fill("fulfilled"));
  });

  it("reads several records by one read, which is no newer than the moment before it was sent", async () => {
    const { clock, cache, loading } = setUp();
    const sentAtMs = clock.elapsedMs();
    const found = await cache.getMany([{ id: "a", subjectId: "a" }], (missing) => {
      clock.advance(100);
      return missing.map(({ id }) => loading(id)());
    });
    expect(found).toMatchObject([{ status: "fulfilled", value: { asOfMs: sentAtMs, source: "database" } }]);
  });

  it("reads and keeps records as before once the database answers", async () => {
    const { clock, breaker, endOutage, cache, loading } = setUp();
    await cache.get("a", loading("x"));
    clock.advance(10_000);
    await cache.get("a", away);
    await endOutage();
    await expect(cache.get("b", loading("y"))).resolves.toMatchObject({ record: { value: "y" } });
    expect(breaker.isOpen).toBe(false);
    expect((await cache.get("a", loading("z"))).record?.value).toBe("z");
  });

  it("serves no stale record if staleOkMs is 0", async () => {
    const { clock, cache, loading } = setUp(10, 0);
    await cache.get("a", loading("x"));
    clock.advance(5001);
    await expect(cache.get("a", away)).rejects.toMatchObject({ reason: "DATABASE_UNAVAILABLE" });
  });
});
