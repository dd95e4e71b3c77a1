import { describe, expect, it } from "vitest";
import { pending, setUp } from "./thing-cache.ts";

describe("RecordCache", () => {
  it("loads once for 100 callers at the same time, and then serves from memory", async () => {
    const { cache, loading, loads } = setUp();
    const all = await Promise.all(Array.from({ length: 100 }, () => cache.get("a", loading("x"))));
    expect(new Set(all.map(({ record }) => record?.value))).toEqual(new Set(["x"]));
    expect((await cache.get("a", loading("y"))).source).toBe("cache");
    expect(loads()).toBe(1);
  });

  it("serves a record for 5 s from the start of its own read, and not longer", async () => {
    const { clock, cache, loading } = setUp();
    const { load, resolve } = pending();
    const first = cache.get("a", load);
    clock.advance(3000);
    resolve({ value: "x", tags: [] });
    await first;
    clock.advance(1900);
    expect((await cache.get("a", loading("y"))).record?.value).toBe("x");
    clock.advance(200);
    expect((await cache.get("a", loading("y"))).record?.value).toBe("y");
  });

  it("keeps maxEntries small records, or fewer large ones within its bytes, the most recently used", async () => {
    const { cache, change, loading, loads } = setUp(10, 60_000, { most: 100, of: ({ value }) => value.length });
    for (let n = 0; n < 15; n++) await cache.get(`small ${n}`, loading("x", `tag ${n}`));
    expect(cache.size).toBe(10);
    for (let n = 0; n < 15; n++) await cache.get(`large ${n}`, loading("x".repeat(30), "owner"));
    expect(cache.size).toBe(3);
    const before = loads();
    for (const n of [12, 13, 14]) expect((await cache.get(`large ${n}`, loading("y"))).source).toBe("cache");
    expect(loads()).toBe(before);
    // Evicted and changed records make room again.
    change("OWNER", "owner");
    for (let n = 0; n < 10; n++) await cache.get(`small ${n}`, loading("x", `tag ${n}`));
    expect(cache.size).toBe(10);
  });

  it("keeps nothing of a read that failed, and every caller gets its error", async () => {
    const { cache, loading } = setUp();
    const { load, reject } = pending();
    const waiting = Promise.allSettled([cache.get("a", load), cache.get("a", load)]);
    const away = new Error("away");
    reject(away);
    expect(await waiting).toEqual(Array(2).fill({ status: "rejected", reason: away }));
    expect((await cache.get("a", loading("x"))).record?.value).toBe("x");
  });

  it("keeps no record that was read before a change, and lets no later caller join that read", async () => {
    const { cache, loading, change } = setUp();
    const { load, resolve } = pending();
    const early = cache.get("a", load);
    change("OWNER", "owner");
    expect((await cache.get("a", loading("new", "owner"))).record?.value).toBe("new");
    resolve({ value: "old", tags: ["owner"] });
    expect((await early).record?.value).toBe("old");
    expect((await cache.get("a", loading("unused"))).record?.value).toBe("new");
  });

  it("does not let a slow read replace a record that was read later", async () => {
    const { clock, cache, loading } = setUp();
    const slow = pending();
    const first = cache.get("a", slow.load);
    clock.advance(10);
    cache.drop("a");
    await cache.get("a", loading("newer"));
    slow.resolve({ value: "older", tags: [] });
    await first;
    expect(cache.fresh("a")?.record?.value).toBe("newer");
  });

  it("forgets exactly the records that depend on what changed", async () => {
    const { cache, loading, change } = setUp();
    await cache.get("a", loading("1", "key_a", "owner"));
    await cache.get("b", loading("2", "key_b", "owner"));
    await cache.get("c", loading("3", "key_c", "other"));
    change("OWNER", "owner");
    expect(cache.fresh("a")).toBeUndefined();
    expect(cache.fresh("b")).toBeUndefined();
    expect(cache.fresh("c")?.record?.value).toBe("3");
  });

  it("remembers absences, but lets no number of them evict a record", async () => {
    const { cache, loading, loads } = setUp(2);
    await cache.get("good", loading("x"));
    for (let n = 0; n < 50; n++) await cache.get(`junk${n}`, loading(undefined));
    expect(cache.fresh("good")?.record?.value).toBe("x");
    const before = loads();
    expect((await cache.get("junk49", loading("appeared"))).record).toBeUndefined();
    expect(loads()).toBe(before);
  });

  it("keeps an absence through every change except that of the absent thing", async () => {
    const { cache, change, loading, loads } = setUp();
    await cache.get("junk", loading(undefined), "key_a");
    change("SESSION", "key_a");
    change("SIGNING_KEY", "kid");
    change("OWNER", "owner");
    change("KEY", "key_b");
    change("SERVICE_CREDENTIAL", "svc_a");
    expect((await cache.get("junk", loading("appeared"), "key_a")).record).toBeUndefined();
    expect(loads()).toBe(1);
    change("KEY", "key_a");
    expect((await cache.get("junk", loading("appeared", "key_a"), "key_a")).record?.value).toBe("appeared");
  });

  it("keeps no absence that was read before the thing was created, and lets no later caller join", async () => {
    const { cache, change, loading } = setUp();
    const { load, resolve } = pending();
    const early = cache.get("a", load, "key_a");
    change("KEY", "key_a");
    expect((await cache.get("a", loading("issued", "key_a"), "key_a")).record?.value).toBe("issued");
    resolve(undefined);
    expect((await early).record).toBeUndefined();
    expect((await cache.get("a", loading("unused"), "key_a")).record?.value).toBe("issued");
  });

  it("keeps an absence that was read while other things changed", async () => {
    const { cache, change, loading } = setUp();
    const { load, resolve } = pending();
    const early = cache.get("a", load, "key_a");
    change("KEY", "key_b");
    change("OWNER", "owner");
    change("SESSION", "ses");
    resolve(undefined);
    await early;
    expect((await cache.get("a", loading("unused"), "key_a")).record).toBeUndefined();
  });

  it("lets callers join a read after changes that can't concern it", async () => {
    const { cache, change, loading, loads } = setUp();
    const { load, resolve } = pending();
    const early = cache.get("a", load, "key_a");
    change("SESSION", "ses");
    change("KEY", "key_b");
    const late = cache.get("a", loading("second"), "key_a");
    resolve({ value: "first", tags: ["key_a", "owner"] });
    expect([(await early).record?.value, (await late).record?.value]).toEqual(["first", "first"]);
    expect(loads()).toBe(0);
  });

  it("stays within its bound, and forgets the tags of evicted records", async () => {
    const { cache, loading, change } = setUp(3);
    for (let n = 0; n < 20; n++) await cache.get(`id${n}`, loading("x", `tag${n}`));
    expect(cache.size).toBe(3);
    change("KEY", "tag0");
    expect(cache.size).toBe(3);
    change("KEY", "tag19");
    expect(cache.size).toBe(2);
  });

  it("keeps a record fresh without a read while the feed proves it", async () => {
    const { clock, feed, cache, loading, loads } = setUp();
    await cache.get("a", loading("x", "key_a"));
    for (let n = 0; n < 100; n++) {
      clock.advance(1000);
      feed.freshAtMs = clock.elapsedMs();
      expect((await cache.get("a", loading("y"))).record?.value).toBe("x");
    }
    expect(loads()).toBe(1);
    const served = cache.fresh("a");
    expect(served?.asOfMs).toBe(feed.freshAtMs);
  });

  it("does not keep a row that was read before its owner changed, which only the row itself names", async () => {
    const { cache, loading, change } = setUp();
    const { load, resolve } = pending();
    const early = cache.get("a", load);
    change("OWNER", "owner");
    resolve({ value: "old", tags: ["key_a", "owner"] });
    expect((await early).record?.value).toBe("old");
    expect((await cache.get("a", loading("new"))).record?.value).toBe("new");
  });

  it("keeps a row that was read while something else changed", async () => {
    const { cache, loading, change } = setUp();
    const { load, resolve } = pending();
    const early = cache.get("a", load);
    change("OWNER", "another");
    resolve({ value: "good", tags: ["key_a", "owner"] });
    await early;
    expect((await cache.get("a", loading("unused"))).record?.value).toBe("good");
  });

  it("reads again, and returns no result, if everything was dropped during the read", async () => {
    const { cache, loading } = setUp();
    const { load, resolve } = pending();
    let reads = 0;
    const early = cache.get("a", () => (reads++ === 0 ? load() : loading("new")()));
    cache.clear();
    resolve({ value: "old", tags: [] });
    expect((await early).record?.value).toBe("new");
    expect((await cache.get("a", loading("unused"))).record?.value).toBe("new");
  });

  it("dates a result that a change overtook by the start of its own read", async () => {
    const { clock, feed, cache, change } = setUp();
    const { load, resolve } = pending();
    feed.position = 7n;
    const readAtMs = clock.monotonicMs();
    const early = cache.get("a", load);
    clock.advance(100);
    change("OWNER", "owner");
    feed.freshAtMs = clock.elapsedMs();
    feed.position = 9n;
    resolve({ value: "old", tags: ["owner"] });
    const { asOfMs, position } = await early;
    expect(asOfMs - readAtMs).toBeLessThan(50);
    expect(position).toBe(7n);
  });
});
