/** The client around the near cache: its calls, stream, outages and access tokens, with a moved clock. */
import { Code, ConnectError } from "@connectrpc/connect";
import { describe, expect, it } from "vitest";
import { type LatchkeyChange, LatchkeyCredentialError, LatchkeyUnavailable } from "../../client/src/latchkey.ts";
import { ErrorInfoSchema } from "../../src/gen/google/rpc/error_details_pb.ts";
import { Change_Kind as Kind } from "../../src/gen/latchkey/v1/change_pb.ts";
import { NearService, unavailable } from "./near-service.ts";

async function readyClient(options: Parameters<NearService["client"]>[0] = {}) {
  const service = new NearService();
  const latchkey = service.client(options);
  const ready = latchkey.ready();
  await service.settle();
  await ready;
  service.verified.length = 0;
  return { service, latchkey };
}

describe("a key that was verified", () => {
  it("is judged here, until the stream tells of its change", async () => {
    const { service, latchkey } = await readyClient();
    const key = service.issue();
    expect(await latchkey.verify({ apiKey: key.raw })).toMatchObject({ valid: true, source: "service", ageMs: 0 });
    await service.pass(60_000 - 1);
    expect(await latchkey.verify({ apiKey: key.raw })).toMatchObject({ valid: true, source: "near", degraded: false });
    expect(latchkey.verifySync({ apiKey: key.raw })).toMatchObject({ valid: true, key: { id: key.id } });
    expect(service.verified).toHaveLength(1);
    expect(latchkey.stats()).toMatchObject({ hits: 2, misses: 1, keptKeys: 1, stream: "open", state: "ready" });
    key.state = "revoked";
    await service.change(Kind.KEY, key.id);
    expect(latchkey.verifySync({ apiKey: key.raw })).toBeUndefined();
    expect(await latchkey.verify({ apiKey: key.raw })).toMatchObject({ verdict: "REVOKED", source: "service" });
    expect(await latchkey.verify({ apiKey: key.raw })).toMatchObject({ verdict: "REVOKED", source: "near" });
    await latchkey.close();
  });

  it("is asked about again 5 s after the stream fell silent", async () => {
    const { service, latchkey } = await readyClient();
    const { raw } = service.issue();
    await latchkey.verify({ apiKey: raw });
    await service.time.pass(4990);
    expect(latchkey.verifySync({ apiKey: raw })).toMatchObject({ valid: true });
    await service.time.pass(10);
    expect(latchkey.verifySync({ apiKey: raw })).toBeUndefined();
    await latchkey.close();
  });

  it("is not kept where the stream was ahead of its answer: at the start, or of a change of the key", async () => {
    const { service, latchkey } = await readyClient();
    const [one, two] = [service.issue(), service.issue()];
    service.position = 9n;
    await latchkey.verify({ apiKey: one.raw });
    expect(latchkey.verifySync({ apiKey: one.raw })).toBeUndefined();
    service.position = 20n;
    await service.change(Kind.KEY, one.id);
    service.position = 20n;
    for (const { raw } of [one, two]) await latchkey.verify({ apiKey: raw });
    expect(latchkey.verifySync({ apiKey: one.raw })).toBeUndefined();
    expect(latchkey.verifySync({ apiKey: two.raw })).toMatchObject({ valid: true });
    await latchkey.close();
  });

  it("is verified by a call of cost 0 at most once a minute", async () => {
    const { service, latchkey } = await readyClient();
    const { raw } = service.issue();
    await latchkey.verify({ apiKey: raw });
    for (let second = 0; second < 180; second++) {
      await service.pass(1000);
      for (let at = 0; at < 3; at++) expect(latchkey.verifySync({ apiKey: raw })).toMatchObject({ valid: true });
      await service.settle();
    }
    const rechecks = service.verified.slice(1).flat();
    expect(rechecks.length).toBeGreaterThanOrEqual(2);
    expect(rechecks.length).toBeLessThanOrEqual(3);
    expect(rechecks.every(({ cost }) => cost === 0)).toBe(true);
    expect(latchkey.stats().rechecks).toBe(rechecks.length);
    await latchkey.close();
  });
});

describe("limits", () => {
  it("are exact by default: each call of a limited key is a call, and a denial is remembered", async () => {
    const { service, latchkey } = await readyClient();
    const { raw, id } = service.issue({ perMinute: 2 });
    for (let at = 0; at < 2; at++) expect(await latchkey.verify({ apiKey: raw })).toMatchObject({ source: "service" });
    const denied = { verdict: "RATE_LIMITED", retryAfterMs: 2000, rateLimits: [{ limit: 2, remaining: 0 }] };
    expect(await latchkey.verify({ apiKey: raw })).toMatchObject({ ...denied, source: "service" });
    expect(await latchkey.verify({ apiKey: raw })).toMatchObject({ ...denied, source: "near", valid: false });
    expect(service.verified).toHaveLength(3);
    // A reset of the limits is told as a change of the key.
    service.keys.get(raw)!.remaining = 2;
    await service.change(Kind.KEY, id);
    expect(await latchkey.verify({ apiKey: raw })).toMatchObject({ valid: true, source: "service" });
    await latchkey.close();
  });

  it("are counted afterwards with `after`, by reports", async () => {
    const { service, latchkey } = await readyClient({ near: { counting: "after" } });
    const { raw } = service.issue({ perMinute: 100 });
    await latchkey.verify({ apiKey: raw });
    for (let at = 1; at <= 5; at++) {
      expect(latchkey.verifySync({ apiKey: raw })).toMatchObject({
        source: "near",
        rateLimits: [{ remaining: 99 - at }],
      });
    }
    await service.time.pass(20);
    await service.settle();
    expect(service.verified).toHaveLength(1);
    expect(service.reported).toMatchObject([[{ cost: 5, admitted: true }]]);
    expect(latchkey.stats()).toMatchObject({ reports: 1, hits: 5 });
    await latchkey.close();
  });
});

describe("ready", () => {
  it("rejects if the stream can't be had, and leaves no rejection unhandled", async () => {
    const service = new NearService();
    service.streamFailure = unavailable();
    await using latchkey = service.client();
    await service.settle();
    await service.time.pass(60_000);
    await expect(Promise.all([latchkey.ready(), service.settle()])).rejects.toBeInstanceOf(LatchkeyUnavailable);
    service.streamFailure = undefined;
    const ready = latchkey.ready();
    await service.settle();
    await expect(ready).resolves.toBeUndefined();
  });

  it("rejects with LatchkeyCredentialError for a credential without the scope `verify`", async () => {
    const service = new NearService();
    service.failure = new ConnectError("needs verify", Code.PermissionDenied);
    await using latchkey = service.client();
    await expect(latchkey.ready()).rejects.toBeInstanceOf(LatchkeyCredentialError);
    service.failure = undefined;
    service.streamFailure = new ConnectError("needs verify", Code.PermissionDenied);
    await expect(Promise.all([latchkey.ready(), service.settle()])).rejects.toBeInstanceOf(LatchkeyCredentialError);
  });

  it("resolves without room for the stream: the state says so, and records live by their own age", async () => {
    const service = new NearService();
    const details = [{ desc: ErrorInfoSchema, value: { reason: "OVERLOADED", domain: "latchkey" } }];
    service.streamFailure = new ConnectError("too many watches", Code.ResourceExhausted, undefined, details);
    await using latchkey = service.client();
    await Promise.all([latchkey.ready(), service.settle()]);
    expect(latchkey.stats()).toMatchObject({ state: "no stream", stream: "no stream" });
    const { raw } = service.issue();
    service.ageMs = 2000;
    await latchkey.verify({ apiKey: raw });
    await service.time.pass(2900);
    expect(latchkey.verifySync({ apiKey: raw })).toMatchObject({ valid: true });
    await service.time.pass(100);
    expect(latchkey.verifySync({ apiKey: raw })).toBeUndefined();
    service.streamFailure = undefined;
    await service.time.pass(5000);
    await service.settle();
    expect(latchkey.stats()).toMatchObject({ state: "ready", stream: "open" });
  });

  it("resolves with an older service: one warning, and each verdict is a call", async () => {
    const service = new NearService();
    service.isOlder = true;
    await using latchkey = service.client();
    const told: Error[] = [];
    latchkey.on("error", (error) => told.push(error));
    await Promise.all([latchkey.ready(), service.settle()]);
    const { raw } = service.issue();
    for (let at = 0; at < 3; at++) {
      expect(await latchkey.verify({ apiKey: raw })).toMatchObject({ valid: true, source: "service" });
    }
    await service.time.pass(1_800_000);
    await service.settle();
    expect(told.map(({ message }) => message)).toEqual([expect.stringContaining("older than near verification")]);
    expect(latchkey.stats().stream).toBe("older service");
  });
});

describe("listeners", () => {
  it("are told of changes in a later turn, and what they throw harms nothing", async () => {
    const { service, latchkey } = await readyClient();
    const told: LatchkeyChange[] = [];
    latchkey.on("change", () => {
      throw new Error("a listener's own fault");
    });
    latchkey.on("change", (change) => told.push(change));
    await service.change(Kind.KEY, "key_1");
    await service.change(99 as Kind, "x");
    await service.tell({ resync: true });
    await expect
      .poll(() => told.map(({ kind, id }) => [kind, id]))
      .toEqual([
        ["KEY", "key_1"],
        ["UNKNOWN", "x"],
        ["RESYNC", ""],
      ]);
    expect(told[0]!.position).toBe(service.position - 1n);
    await latchkey.close();
  });
});

describe("while the service is unreachable", () => {
  const silent = async (options: Parameters<NearService["client"]>[0], failure: Error = unavailable()) => {
    const world = await readyClient(options);
    const { service, latchkey } = world;
    const key = service.issue();
    await latchkey.verify({ apiKey: key.raw });
    service.verified.length = 0;
    service.failure = failure;
    service.streamFailure = failure;
    await service.time.pass(6000);
    return { ...world, ...key };
  };

  it("an old record is never used by default", async () => {
    const { latchkey, raw } = await silent({});
    await expect(latchkey.verify({ apiKey: raw, cost: 1 })).rejects.toBeInstanceOf(LatchkeyUnavailable);
    await latchkey.close();
  });

  it("it is used up to `staleOkMs`, after a call has failed, and at once while the breaker is open", async () => {
    const { service, latchkey, raw } = await silent({ near: { staleOkMs: 30_000 } });
    expect(latchkey.verifySync({ apiKey: raw })).toBeUndefined();
    const verdict = await latchkey.verify({ apiKey: raw });
    expect(verdict).toMatchObject({ valid: true, degraded: true, source: "near" });
    expect(verdict.ageMs).toBeGreaterThanOrEqual(6000);
    const calls = service.verified.length;
    expect(calls).toBeGreaterThan(0);
    for (let at = 0; at < 5; at++) expect(await latchkey.verify({ apiKey: raw })).toMatchObject({ degraded: true });
    expect(service.verified).toHaveLength(calls);
    // A probe each 500 ms finds the end.
    await service.time.pass(499);
    expect(service.verified).toHaveLength(calls);
    await service.time.pass(1);
    expect(service.verified.length).toBeGreaterThan(calls);
    await service.time.pass(24_000);
    await expect(latchkey.verify({ apiKey: raw })).rejects.toBeInstanceOf(LatchkeyUnavailable);
    service.failure = undefined;
    await service.time.pass(500);
    expect(await latchkey.verify({ apiKey: raw })).toMatchObject({ degraded: false, source: "service" });
    expect(latchkey.stats().stale).toBe(6);
    await latchkey.close();
  });

  it.each([Code.Unauthenticated, Code.PermissionDenied, Code.Internal, Code.ResourceExhausted])(
    "it is not used after code %d",
    async (code) => {
      const { service, latchkey, raw } = await silent({ near: { staleOkMs: 30_000 } }, new ConnectError("no", code));
      await expect(latchkey.verify({ apiKey: raw })).rejects.toBeInstanceOf(Error);
      service.failure = unavailable();
      const isRefusal = code === Code.Unauthenticated || code === Code.PermissionDenied;
      const later = latchkey.verify({ apiKey: raw });
      if (isRefusal) await expect(later).rejects.toBeInstanceOf(LatchkeyUnavailable);
      else await expect(later).resolves.toMatchObject({ degraded: true });
      await latchkey.close();
    },
  );

  it("it is used after a deadline, and not for a key whose change was told", async () => {
    const { service, latchkey } = await readyClient({ near: { staleOkMs: 30_000 }, deadlineMs: 50 });
    const [one, two] = [service.issue(), service.issue()];
    await Promise.all([one, two].map(({ raw }) => latchkey.verify({ apiKey: raw })));
    await service.change(Kind.KEY, two.id);
    service.failure = new ConnectError("too late", Code.DeadlineExceeded);
    service.streamFailure = service.failure;
    await service.time.pass(6000);
    expect(await latchkey.verify({ apiKey: one.raw })).toMatchObject({ valid: true, degraded: true });
    await expect(latchkey.verify({ apiKey: two.raw })).rejects.toBeInstanceOf(LatchkeyUnavailable);
    await latchkey.close();
  });

  it("limits are met by the last `remaining`, degraded", async () => {
    const { service, latchkey } = await readyClient({ near: { staleOkMs: 30_000 } });
    const { raw } = service.issue({ perMinute: 3 });
    await latchkey.verify({ apiKey: raw });
    await service.time.pass(1);
    service.failure = unavailable();
    const verdicts = [];
    for (let at = 0; at < 3; at++) verdicts.push(await latchkey.verify({ apiKey: raw }));
    expect(verdicts.map(({ verdict, degraded }) => [verdict, degraded])).toEqual([
      ["VALID", true],
      ["VALID", true],
      ["RATE_LIMITED", true],
    ]);
    await latchkey.close();
  });

  it("an answer of any age is passed on, with its age", async () => {
    const { service, latchkey } = await readyClient();
    const { raw } = service.issue();
    Object.assign(service, { ageMs: 40_000, maxStalenessMs: 65_000 });
    expect(await latchkey.verify({ apiKey: raw })).toMatchObject({ valid: true, ageMs: 40_000, degraded: true });
    await latchkey.close();
  });
});
