import { describe, expect, it } from "vitest";
import { RecordCache } from "../../src/changes/record-cache.ts";
import { ShiftedClock } from "../support/shifted-clock.ts";

interface Thing {
  readonly value: string;
  readonly tags: readonly string[];
}

function setUp(maxEntries = 10) {
  const clock = new ShiftedClock();
  const cache = new RecordCache<Thing>({
    clock,
    maxEntries,
    maxAbsent: 3,
    lifeMs: 5000,
    tagsOf: (thing) => thing.tags,
  });
  let loads = 0;
  const loading =
    (value: string | undefined, ...tags: string[]) =>
    async () => {
      loads++;
      return value === undefined ? undefined : { value, tags };
    };
  return { clock, cache, loading, loads: () => loads };
}

/** A load that ends when the test says so. */
function pending() {
  const { promise, resolve, reject } = Promise.withResolvers<Thing | undefined>();
  return { load: () => promise, resolve, reject };
}

describe("RecordCache", () => {
  it("loads once, however many ask at the same time, and then serves from memory", async () => {
    const { cache, loading, loads } = setUp();
    const all = await Promise.all(Array.from({ length: 100 }, () => cache.get("a", loading("x"))));
    expect(new Set(all.map(({ record }) => record?.value))).toEqual(new Set(["x"]));
    expect((await cache.get("a", loading("y"))).source).toBe("cache");
    expect(loads()).toBe(1);
  });

  it("serves a record for 5 s from the start of its own read, and not a moment longer", async () => {
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

  it("keeps nothing of a read that failed, and tells each that waited", async () => {
    const { cache, loading } = setUp();
    const { load, reject } = pending();
    const waiting = [cache.get("a", load), cache.get("a", load)];
    reject(new Error("away"));
    for (const wait of waiting) await expect(wait).rejects.toThrow("away");
    expect((await cache.get("a", loading("x"))).record?.value).toBe("x");
  });

  it("does not keep what was read before a change, nor let a later caller join that read", async () => {
    const { cache, loading } = setUp();
    const { load, resolve } = pending();
    const early = cache.get("a", load);
    cache.dropTag("owner");
    expect((await cache.get("a", loading("new", "owner"))).record?.value).toBe("new");
    resolve({ value: "old", tags: ["owner"] });
    expect((await early).record?.value).toBe("old");
    expect((await cache.get("a", loading("unused"))).record?.value).toBe("new");
  });

  it("forgets all records that depend on what changed, and no others", async () => {
    const { cache, loading } = setUp();
    await cache.get("a", loading("1", "key_a", "owner"));
    await cache.get("b", loading("2", "key_b", "owner"));
    await cache.get("c", loading("3", "key_c", "other"));
    cache.dropTag("owner");
    expect(cache.fresh("a")).toBeUndefined();
    expect(cache.fresh("b")).toBeUndefined();
    expect(cache.fresh("c")?.record?.value).toBe("3");
  });

  it("remembers absence, but lets no number of absences push out a record", async () => {
    const { cache, loading, loads } = setUp(2);
    await cache.get("good", loading("x"));
    for (let n = 0; n < 50; n++) await cache.get(`junk${n}`, loading(undefined));
    expect(cache.fresh("good")?.record?.value).toBe("x");
    const before = loads();
    expect((await cache.get("junk49", loading("appeared"))).record).toBeUndefined();
    expect(loads()).toBe(before);
  });

  it("stays within its bound, and forgets the tags of what it pushed out", async () => {
    const { cache, loading } = setUp(3);
    for (let n = 0; n < 20; n++) await cache.get(`id${n}`, loading("x", `tag${n}`));
    expect(cache.size).toBe(3);
    cache.dropTag("tag0");
    expect(cache.size).toBe(3);
    cache.dropTag("tag19");
    expect(cache.size).toBe(2);
  });
});
