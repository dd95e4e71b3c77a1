/** One contract for the client over the running service and over the one in memory. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  LatchkeyCredentialError,
  LatchkeyRequestError,
  LatchkeyUnavailable,
  type VerdictName,
} from "../../client/src/latchkey.ts";
import type { World } from "./world.ts";

export function clientContract(start: () => Promise<World>): void {
  let world: World;
  beforeAll(async () => {
    world = await start();
  });
  afterAll(() => world[Symbol.asyncDispose]());

  describe("ready", () => {
    it("resolves where the service answers", async () => {
      await expect(world.latchkey.ready()).resolves.toBeUndefined();
    });

    it("rejects with LatchkeyUnavailable where it does not", async () => {
      await expect(world.unreachable.ready()).rejects.toBeInstanceOf(LatchkeyUnavailable);
    });

    it("rejects with LatchkeyCredentialError where the credential is refused", async () => {
      await expect(world.refused.ready()).rejects.toBeInstanceOf(LatchkeyCredentialError);
    });
  });

  describe("verify", () => {
    it("tells a valid key with its facts and its windows", async () => {
      const { apiKey, id, ownerId } = await world.newKey({ tier: "pro", scopes: ["a", "b"], metadata: { team: "x" } });
      const verdict = await world.latchkey.verify({ apiKey, requiredScopes: ["a"] });
      expect(verdict).toMatchObject({ valid: true, verdict: "VALID", degraded: false, source: "service" });
      expect(verdict.key).toEqual({
        id,
        ownerId,
        name: "a key",
        tier: "pro",
        scopes: ["a", "b"],
        environment: "live",
        metadata: { team: "x" },
        expiresAt: undefined,
      });
      expect(
        verdict.rateLimits.map(({ name, windowMs, limit, remaining }) => [name, windowMs, limit, remaining]),
      ).toEqual([
        ["", 60_000, 60, 59],
        ["", 86_400_000, 5000, 4999],
      ]);
      expect(Object.isFrozen(verdict.key?.metadata) && Object.isFrozen(verdict.key?.scopes)).toBe(true);
    });

    it.each<[verdict: VerdictName, of: (world: World) => Promise<Parameters<World["latchkey"]["verify"]>[0]>]>([
      ["INVALID", async () => ({ apiKey: "kit_live_nothing" })],
      ["INVALID", async (one) => ({ apiKey: `${(await one.newKey()).apiKey}x` })],
      ["INVALID", async (one) => ({ apiKey: (await one.newKey()).apiKey, environment: "test" })],
      ["INVALID", async () => ({ apiKey: "x".repeat(1_000_000) })],
      ["SCOPE_MISSING", async (one) => ({ apiKey: (await one.newKey()).apiKey, requiredScopes: ["a"] })],
      ["TIER_NOT_ALLOWED", async (one) => ({ apiKey: (await one.newKey()).apiKey, allowedTiers: ["pro"] })],
      ["IP_NOT_ALLOWED", async (one) => ({ apiKey: (await one.newKey({ allowedIps: ["192.0.2.0/24"] })).apiKey })],
      [
        "METHOD_NOT_ALLOWED",
        async (one) => ({ apiKey: (await one.newKey({ allowedMethods: ["/a"] })).apiKey, method: "/b" }),
      ],
    ])("refuses with %s (%#)", async (name, requestOf) => {
      expect(await world.latchkey.verify(await requestOf(world))).toMatchObject({ valid: false, verdict: name });
    });

    it("refuses a key once it is disabled, revoked, or its owner is disabled", async () => {
      const [one, two, three] = await Promise.all([world.newKey(), world.newKey(), world.newKey()]);
      for (const { apiKey } of [one, two, three]) {
        expect(await world.latchkey.verify({ apiKey })).toMatchObject({ valid: true });
      }
      await world.disableKey(one.id);
      await world.revokeKey(two.id);
      await world.disableOwner(three.ownerId);
      const names = async () => {
        const verdicts = await Promise.all([one, two, three].map(({ apiKey }) => world.latchkey.verify({ apiKey })));
        return verdicts.map(({ verdict }) => verdict);
      };
      await expect.poll(names).toEqual(["DISABLED", "REVOKED", "OWNER_DISABLED"]);
    });

    it("counts exactly, tells the exact wait, and counts nothing at cost 0", async () => {
      const { apiKey } = await world.newKey({ limits: { perMinute: 3 } });
      expect(await world.latchkey.verify({ apiKey, cost: 0 })).toMatchObject({ valid: true });
      const verdicts = await Promise.all(Array.from({ length: 5 }, () => world.latchkey.verify({ apiKey })));
      expect(verdicts.filter(({ valid }) => valid)).toHaveLength(3);
      const denied = verdicts.find(({ valid }) => !valid)!;
      expect(denied).toMatchObject({ verdict: "RATE_LIMITED", rateLimits: [{ limit: 3, remaining: 0 }, {}] });
      expect(denied.retryAfterMs).toBeGreaterThan(50_000);
      expect(denied.retryAfterMs).toBeLessThanOrEqual(62_000);
    });

    it("gives each of 300 concurrent calls its own outcome", async () => {
      const keys = await Promise.all(Array.from({ length: 3 }, () => world.newKey({ tier: "enterprise" })));
      const calls = Array.from({ length: 300 }, (_, at) => {
        if (at % 100 === 50) return world.latchkey.verify({ apiKey: "x", clientIp: "no address" });
        return world.latchkey.verify({ apiKey: at % 4 === 3 ? "invented" : keys[at % 4]!.apiKey });
      });
      const outcomes = await Promise.allSettled(calls);
      for (const [at, outcome] of outcomes.entries()) {
        if (at % 100 === 50) expect(outcome).toMatchObject({ status: "rejected", reason: { fields: ["client_ip"] } });
        else if (at % 4 === 3) expect(outcome).toMatchObject({ value: { verdict: "INVALID" } });
        else expect(outcome).toMatchObject({ value: { valid: true, key: { id: keys[at % 4]!.id } } });
      }
      expect(world.latchkey.stats().batches).toBeGreaterThan(0);
    });

    it("rejects a request that is wrong with LatchkeyRequestError and its fields", async () => {
      const { apiKey } = await world.newKey();
      const wrong = world.latchkey.verify({ apiKey, limits: [{ name: "NOT OK", perMinute: 1 }] });
      await expect(wrong).rejects.toMatchObject({ name: "LatchkeyRequestError", fields: ["limits[0].name"] });
      await expect(world.latchkey.verify({ apiKey, cost: 1.5 })).rejects.toBeInstanceOf(LatchkeyRequestError);
    });

    it("fails closed: without an answer it rejects, and no error has the key", async () => {
      const { apiKey } = await world.newKey();
      for (const client of [world.unreachable, world.refused]) {
        const error = await client.verify({ apiKey }).catch((reason: unknown) => reason as Error);
        expect(error).toBeInstanceOf(client === world.refused ? LatchkeyCredentialError : LatchkeyUnavailable);
        expect(`${(error as Error).stack} ${(error as Error).cause}`).not.toContain(apiKey.slice(-43));
      }
    });

    it("ends with the signal's reason", async () => {
      const { apiKey } = await world.newKey();
      const reason = new Error("enough");
      await expect(world.latchkey.verify({ apiKey }, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
      const stop = new AbortController();
      const verdict = world.latchkey.verify({ apiKey }, { signal: stop.signal });
      stop.abort(reason);
      await expect(verdict).rejects.toBe(reason);
    });
  });

  describe("checkRateLimit", () => {
    it("counts a subject by its name", async () => {
      const request = { name: "address 192.0.2.7", limits: [{ name: "sign-up", perMinute: 2 }] };
      const verdicts = [];
      for (let at = 0; at < 3; at++) verdicts.push(await world.latchkey.checkRateLimit(request));
      expect(verdicts.map(({ allowed }) => allowed)).toEqual([true, true, false]);
      expect(verdicts[2]).toMatchObject({ rateLimits: [{ name: "sign-up", limit: 2, remaining: 0 }] });
      expect(verdicts[2]!.retryAfterMs).toBeGreaterThan(0);
    });

    it("shares a key's own limits with verify", async () => {
      const { apiKey, id } = await world.newKey({ limits: { perMinute: 1 } });
      expect(await world.latchkey.checkRateLimit({ keyId: id })).toMatchObject({ allowed: true });
      expect(await world.latchkey.verify({ apiKey })).toMatchObject({ verdict: "RATE_LIMITED" });
    });

    it("rejects an unknown key and a cost that never fits", async () => {
      const unknown = world.latchkey.checkRateLimit({ keyId: "key_0000000000000000" });
      await expect(unknown).rejects.toMatchObject({ name: "LatchkeyRequestError", reason: "KEY_NOT_FOUND" });
      const large = world.latchkey.checkRateLimit({ name: "a", cost: 3, limits: [{ name: "a", perMinute: 2 }] });
      await expect(large).rejects.toMatchObject({ name: "LatchkeyRequestError", fields: ["cost"] });
    });
  });

  describe("verifyAccessToken", () => {
    it("tells the person of a token, until their session ends", async () => {
      const token = await world.newToken();
      const { accessToken, userId, sessionId } = token;
      const verdict = await world.latchkey.verifyAccessToken(accessToken);
      expect(verdict).toMatchObject({ valid: true, userId, sessionId, expiresAt: expect.any(Date) });
      await world.endSessions(token);
      await expect.poll(() => world.latchkey.verifyAccessToken(accessToken)).toEqual({ valid: false });
    });

    it("refuses what is no token, and a token with another signature", async () => {
      const { accessToken } = await world.newToken();
      const forged = `${accessToken.slice(0, -6)}AAAAAA`;
      for (const text of ["", "a.b.c", forged, "x".repeat(5000)]) {
        expect(await world.latchkey.verifyAccessToken(text)).toEqual({ valid: false });
      }
    });

    it("refuses a token that has expired by the service's clock", async () => {
      const { accessToken } = await world.newToken();
      world.advance(3_600_000);
      expect(await world.latchkey.verifyAccessToken(accessToken)).toEqual({ valid: false });
    });

    it("rejects with LatchkeyUnavailable without an answer", async () => {
      const { accessToken } = await world.newToken();
      const verdict = world.unreachable.verifyAccessToken(accessToken);
      // The one in memory has keys of its own, so that the token is refused before the service is asked.
      await verdict.then(
        ({ valid }) => expect(valid).toBe(false),
        (error: unknown) => expect(error).toBeInstanceOf(LatchkeyUnavailable),
      );
    });
  });

  it("a key that expires is EXPIRED by the service's clock", async () => {
    const { apiKey } = await world.newKey({ expiresAt: new Date(Date.now() + 7_200_000) });
    expect(await world.latchkey.verify({ apiKey })).toMatchObject({ valid: true });
    world.advance(7_300_000);
    expect(await world.latchkey.verify({ apiKey })).toMatchObject({ valid: false, verdict: "EXPIRED" });
  });
}
