/** Judgements by the near cache of the records and the absences that it keeps. */
import { describe, expect, it } from "vitest";
import { BEGIN_MS, Kind, keyId, NearWorld, rawKey, State, Verdict } from "./near-world.ts";

describe("a judgement of a kept key", () => {
  it("says VALID where a limit must be counted, and says so", () => {
    const world = new NearWorld();
    world.stream();
    world.verify(1, { key: { effectiveLimits: { perMinute: 20 } } });
    world.verify(2);
    expect(world.judge(1)).toMatchObject({
      verdict: "VALID",
      isCounted: true,
      ownLimits: [{ name: "", perMinute: 20, perDay: undefined }],
    });
    expect(world.judge(1, { cost: 0 })?.isCounted).toBe(true);
    expect(world.judge(2)?.isCounted).toBe(false);
    expect(world.judge(2, { limits: [{ name: "a" }] })?.isCounted).toBe(false);
    expect(world.judge(2, { limits: [{ name: "a", perDay: 0 }] })?.isCounted).toBe(true);
  });

  it("of a key that was over its limit is VALID without its limits, as the record says", () => {
    const world = new NearWorld();
    world.stream();
    world.verify(1, { verdict: Verdict.RATE_LIMITED, key: { effectiveLimits: { perMinute: 20 } } });
    expect(world.judge(1)).toMatchObject({ verdict: "VALID", isCounted: true });
  });

  it("refuses by what the request needs, without counting", () => {
    const world = new NearWorld();
    world.stream();
    const limits = { effectiveLimits: { perMinute: 20 } };
    world.verify(1, { key: { ...limits, allowedIps: ["192.0.2.0/24"], allowedMethods: ["/a/*"] } });
    const good = { clientIp: "192.0.2.1", method: "/a/b" };
    expect(world.verdict(1, good)).toBe("VALID");
    expect(world.judge(1, { ...good, requiredScopes: ["write"] })).toMatchObject({
      verdict: "SCOPE_MISSING",
      key: { id: keyId(1) },
      isCounted: false,
    });
    expect(world.verdict(1, { ...good, allowedTiers: ["pro"] })).toBe("TIER_NOT_ALLOWED");
    expect(world.verdict(1, { ...good, clientIp: "" })).toBe("IP_NOT_ALLOWED");
    expect(world.verdict(1, { ...good, method: "/b" })).toBe("METHOD_NOT_ALLOWED");
  });

  it("goes by the effective scopes and the effective tier, and shows them", () => {
    const world = new NearWorld();
    world.stream();
    world.verify(1, { key: { scopes: ["read", "write"], tier: "pro" } });
    expect(world.judge(1)?.key).toMatchObject({ scopes: ["read"], tier: "basic" });
    expect(world.verdict(1, { requiredScopes: ["write"] })).toBe("SCOPE_MISSING");
    expect(world.verdict(1, { allowedTiers: ["pro"] })).toBe("TIER_NOT_ALLOWED");
  });

  it.each<[verdict: string, answer: Parameters<NearWorld["verify"]>[1]]>([
    ["REVOKED", { verdict: Verdict.REVOKED, key: { state: State.REVOKED } }],
    ["DISABLED", { verdict: Verdict.DISABLED, key: { state: State.DISABLED, disabledBy: "svc_1" } }],
    ["DISABLED", { verdict: Verdict.EXPIRED, key: { state: State.EXPIRED, disabledBy: "svc_1" } }],
    ["OWNER_DISABLED", { verdict: Verdict.OWNER_DISABLED }],
  ])("is %s as the answer was", (verdict, answer) => {
    const world = new NearWorld();
    world.stream();
    world.verify(1, answer);
    expect(world.verdict(1)).toBe(verdict);
  });

  it("does not believe the state EXPIRED, which says only what time it was", () => {
    const world = new NearWorld();
    world.stream();
    world.verify(1, { verdict: Verdict.EXPIRED, key: { state: State.EXPIRED } });
    expect(world.verdict(1)).toBe("VALID");
  });

  it("is INVALID without the key where keys of another environment are wanted", () => {
    const world = new NearWorld();
    world.stream();
    world.verify(1);
    expect(world.verdict(1, { environment: "live" })).toBe("VALID");
    expect(world.judge(1, { environment: "test" })).toMatchObject({ verdict: "INVALID", key: undefined });
  });

  it("shows one key for all, which can't be changed in any part", () => {
    const world = new NearWorld();
    world.stream();
    const expireTime = { seconds: BigInt(BEGIN_MS) / 1000n + 3600n };
    world.verify(1, { key: { metadata: { a: "b" }, expireTime } });
    const key = world.judge(1)!.key!;
    expect(world.judge(1)!.key).toBe(key);
    expect(key.expiresAt?.getTime()).toBe(BEGIN_MS + 3_600_000);
    for (const change of [
      () => Object.assign(key, { tier: "pro" }),
      () => (key.scopes as string[]).push("write"),
      () => Object.assign(key.metadata, { a: "c" }),
      () => key.expiresAt!.setTime(0),
      () => key.expiresAt!.setUTCFullYear(1999),
    ]) {
      expect(change).toThrow(TypeError);
    }
    expect(key.expiresAt?.getTime()).toBe(BEGIN_MS + 3_600_000);
  });

  it("throws what the service would refuse, and never repeats the key", () => {
    const world = new NearWorld();
    world.stream();
    world.verify(1);
    for (const [field, request] of [
      ["client_ip", { clientIp: "1.2.3" }],
      ["required_scopes[0]", { requiredScopes: ["a b"] }],
      ["cost", { cost: -1 }],
      ["limits[0].name", { limits: [{ name: "A", perMinute: 1 }] }],
      ["method", { method: "a\nb" }],
      ["api_key", { apiKey: 5 as unknown as string }],
    ] as const) {
      const judging = () => world.judge(1, request);
      expect(judging, field).toThrow(
        expect.objectContaining({ name: "LatchkeyRequestError", reason: "INVALID_FIELD", fields: [field] }),
      );
      expect(judging, field).not.toThrow(rawKey(1));
    }
  });
});

describe("the end of a key", () => {
  const endsAt = (ms: number) => ({
    key: { expireTime: { seconds: BigInt(BEGIN_MS + ms) / 1000n, nanos: (ms % 1000) * 1e6 } },
  });

  it.each([
    ["the key", endsAt],
    ["the secret", (ms: number) => ({ secretExpiresAtMs: BEGIN_MS + ms })],
  ])("of %s is judged by both ends of the interval of the database's time, and between them by a call", (_, answer) => {
    const world = new NearWorld();
    const exchange = world.cache.begin();
    world.clock.advance(100);
    // The answer was written at some moment of the last 100 ms, so the database's time is known to 101 ms.
    world.cache.keep(exchange, { apiKey: rawKey(1) }, world.response(1, { ...answer(3000), serveMs: BEGIN_MS + 50 }));
    const { loMs, hiMs } = world.cache.databaseTime()!;
    expect([loMs, hiMs].map((ms) => Math.round(ms - BEGIN_MS))).toEqual([50, 151]);
    const verdicts: (string | undefined)[] = [];
    for (const atMs of [2940, 3000, 3060]) {
      world.clock.advance(atMs - (world.databaseMs - BEGIN_MS));
      verdicts.push(world.verdict(1));
    }
    expect(verdicts).toEqual(["VALID", undefined, "EXPIRED"]);
  });

  it("needs a call while the database's time is not known, and none where time changes nothing", () => {
    const world = new NearWorld();
    world.verify(1, { ...endsAt(3000), serveMs: undefined });
    world.verify(2, {
      verdict: Verdict.REVOKED,
      key: { ...endsAt(3000).key, state: State.REVOKED },
      serveMs: undefined,
    });
    expect(world.cache.databaseTime()).toBeUndefined();
    expect([world.verdict(1), world.verdict(2)]).toEqual([undefined, "REVOKED"]);
  });

  it("needs a call after a suspension, until an answer or a message tells the database's time", () => {
    const world = new NearWorld();
    world.stream();
    world.verify(1, endsAt(3_600_000));
    world.clock.suspend(60_000);
    expect(world.verdict(1)).toBeUndefined();
    expect(world.cache.databaseTime()).toBeUndefined();
    world.stream({}, "a cursor");
    expect(world.verdict(1)).toBe("VALID");
  });

  it("follows the database's clock when that is set, and never this host's", () => {
    for (const stepMs of [60_000, -60_000]) {
      const world = new NearWorld();
      const attempt = world.stream();
      world.verify(1, endsAt(30_000));
      world.clock.jump(-3_600_000);
      expect(world.verdict(1)).toBe("VALID");
      world.clock.advance(1000);
      world.tell(attempt, { serveMs: world.databaseMs + stepMs });
      const { loMs, hiMs } = world.cache.databaseTime()!;
      expect(hiMs - loMs).toBeLessThan(1002);
      expect(Math.abs(loMs - world.databaseMs - stepMs)).toBeLessThan(2);
      expect(world.verdict(1)).toBe(stepMs > 0 ? "EXPIRED" : "VALID");
    }
  });

  it("is known less well the longer nothing is heard, by 200 ppm", () => {
    const world = new NearWorld();
    world.stream();
    world.clock.advance(100_000);
    const { loMs, hiMs } = world.cache.databaseTime()!;
    expect(hiMs - loMs).toBeCloseTo(1 + 2 * 20, 3);
  });

  it("takes the best of what was heard for each bound", () => {
    const world = new NearWorld();
    const attempt = world.stream();
    world.clock.advance(1000);
    // A message that waited for 1 s: it says only that the time is at least its own.
    world.tell(attempt, { elapsedMs: 0, serveMs: BEGIN_MS + 10 });
    const { loMs, hiMs } = world.cache.databaseTime()!;
    expect(hiMs - loMs).toBeLessThan(2);
  });
});

describe("an INVALID answer", () => {
  it("is kept for 5 s from its own moment, and no stream renews it", () => {
    const world = new NearWorld();
    const attempt = world.stream();
    world.verify(1, { verdict: Verdict.INVALID, ageMs: 1000, maxStalenessMs: 65_000 });
    world.clock.advance(3998);
    world.tell(attempt);
    expect(world.judge(1)).toMatchObject({ verdict: "INVALID", key: undefined });
    world.clock.advance(2);
    world.tell(attempt);
    expect(world.verdict(1)).toBeUndefined();
  });

  it("ends with a change of its key, and is not kept below one", () => {
    const world = new NearWorld();
    const attempt = world.stream();
    world.verify(1, { verdict: Verdict.INVALID });
    world.tell(attempt, { position: 110, changes: [{ kind: Kind.KEY, subjectId: keyId(1) }] });
    expect(world.verdict(1)).toBeUndefined();
    world.verify(1, { verdict: Verdict.INVALID, position: 109 });
    expect(world.verdict(1)).toBeUndefined();
    world.verify(1, { verdict: Verdict.INVALID, position: 110 });
    expect(world.verdict(1)).toBe("INVALID");
  });

  it("ends with a suspension", () => {
    const world = new NearWorld();
    world.stream();
    world.verify(1, { verdict: Verdict.INVALID });
    world.clock.suspend(1001);
    expect(world.verdict(1)).toBeUndefined();
  });

  it("gives way to the key once the service finds it", () => {
    const world = new NearWorld();
    world.stream();
    world.verify(1, { verdict: Verdict.INVALID });
    world.verify(1);
    expect(world.verdict(1)).toBe("VALID");
    world.cache.clear();
    expect(world.verdict(1)).toBeUndefined();
  });

  it("is kept if the request named no environment or the key's own, and needs freshness", () => {
    const world = new NearWorld();
    world.stream();
    world.verify(1, { verdict: Verdict.INVALID }, { environment: "test" });
    world.verify(2, { verdict: Verdict.INVALID }, { environment: "live" });
    const formless = world.response(3, { verdict: Verdict.INVALID });
    formless.freshness = undefined;
    world.cache.keep(world.cache.begin(), { apiKey: rawKey(3) }, formless);
    expect([1, 2, 3].map((n) => world.verdict(n))).toEqual([undefined, "INVALID", undefined]);
  });

  it("is one of 10,000 at most, and evicts no record", () => {
    const world = new NearWorld();
    world.stream();
    world.verify(0);
    for (let n = 1; n <= 15_001; n++) world.verify(n, { verdict: Verdict.INVALID });
    const kept = Array.from({ length: 15_001 }, (_, n) => world.verdict(n + 1)).filter((one) => one === "INVALID");
    expect(kept.length).toBeGreaterThan(5_000);
    expect(kept.length).toBeLessThanOrEqual(10_000);
    expect([world.verdict(15_001), world.verdict(0)]).toEqual(["INVALID", "VALID"]);
  });
});

describe("the form of a key", () => {
  it.each([
    ["", "INVALID"],
    ["nonsense", "INVALID"],
    [`${rawKey(1)}a`, "INVALID"],
    [`Bearer ${rawKey(1)}`, "INVALID"],
    [rawKey(1).slice(0, -1), "INVALID"],
    [rawKey(1).replace("k1", "k2"), "INVALID"],
    [rawKey(1, "Kit_live_"), "INVALID"],
    [rawKey(1, "kit_svc_"), "INVALID"],
    [rawKey(1, "kit_ref_"), "INVALID"],
    ["x".repeat(1_000_000), "INVALID"],
    [rawKey(1), undefined],
    [rawKey(1, "other_prod_"), undefined],
    [rawKey(1, "a234567890123456_b234567890123456_"), undefined],
  ])("is judged without a call (%#)", (apiKey, verdict) => {
    const judgement = new NearWorld().cache.judge({ apiKey });
    expect(judgement?.verdict).toBe(verdict);
    expect(judgement?.ageMs ?? 0).toBe(0);
  });
});
