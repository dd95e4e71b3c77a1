import { type Client, Code } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { KeyService } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { errorOf } from "../support/errors.ts";
import { startTestService, type TestService } from "../support/in-process-service.ts";

const byName = (name: string) => ({ case: "name" as const, value: name });
const byKey = (keyId: string) => ({ case: "keyId" as const, value: keyId });
const limits = [{ name: "burst", perMinute: 3 }];

let service: TestService;
let verifier: Client<typeof KeyService>;
beforeAll(async () => {
  service = await startTestService();
  verifier = service.client(KeyService, await service.newCredential("verify"));
});
afterAll(() => service?.[Symbol.asyncDispose]());

type Requests = Parameters<typeof verifier.batchCheckRateLimits>[0]["requests"];

/** The outcome of each request of a batch: whether it is allowed, or the code of its error. */
async function outcomesOf(requests: Requests): Promise<(boolean | number)[]> {
  const { results } = await verifier.batchCheckRateLimits({ requests: requests ?? [] });
  return results.map(({ outcome }) =>
    outcome.case === "response" ? outcome.value.allowed : (outcome.value?.code ?? Number.NaN),
  );
}

describe("BatchCheckRateLimits", () => {
  it("answers each request as CheckRateLimit does, in order, and lets one fail without the others", async () => {
    const { key } = await service.newKey();
    const seen = await outcomesOf([
      { subject: byKey(key!.id), cost: 20 },
      { subject: byName("a"), limits, cost: 4 },
      {},
      { subject: byKey("key_AAAAAAAAAAAAAAAA") },
      { subject: byKey(key!.id), cost: 21 },
      { subject: byName("a"), limits, cost: 3 },
      { subject: byKey(key!.id) },
    ]);
    expect(seen).toEqual([true, Code.InvalidArgument, Code.InvalidArgument, Code.NotFound, 3, true, false]);
  });

  it("counts each occurrence of a subject, in order", async () => {
    const request = { subject: byName("twice"), limits };
    expect(await outcomesOf([request, request, { ...request, cost: 2 }, request, request])).toEqual([
      true,
      true,
      false,
      true,
      false,
    ]);
  });

  it("accepts 0 to 256 requests, and refuses 257", async () => {
    const requests = Array.from({ length: 256 }, () => ({ subject: byName("many"), limits, cost: 0 }));
    expect(await outcomesOf(requests)).toHaveLength(256);
    const tooMany = await errorOf(verifier.batchCheckRateLimits({ requests: [...requests, {}] }));
    expect(tooMany).toMatchObject({ code: Code.InvalidArgument, fields: ["requests"] });
    expect(await outcomesOf([])).toEqual([]);
  });
});

describe("a report of a call that has happened", () => {
  it("is counted beyond the limit, is always allowed, and leaves nothing for later calls", async () => {
    const { key, apiKey } = await service.newKey();
    const subject = byKey(key!.id);
    const told = await verifier.checkRateLimit({ subject, cost: 50, admitted: true });
    expect(told).toMatchObject({ allowed: true, degraded: false });
    expect(told.retryAfter).toBeUndefined();
    expect(told.rateLimits.map(({ remaining }) => remaining)).toEqual([0, 950]);
    expect((await verifier.verifyKey({ apiKey })).valid).toBe(false);
    expect((await verifier.checkRateLimit({ subject })).allowed).toBe(false);
  });

  it("is counted after a denial that the process remembers", async () => {
    const request = { subject: byName("remembered"), limits };
    await verifier.checkRateLimit({ ...request, cost: 3 });
    expect((await verifier.checkRateLimit(request)).allowed).toBe(false);
    expect(await outcomesOf([{ ...request, admitted: true }, request])).toEqual([true, false]);
    const wider = { ...request, limits: [{ name: "burst", perMinute: 10 }], cost: 0 };
    expect((await verifier.checkRateLimit(wider)).rateLimits[0]!.remaining).toBe(6);
  });

  it("may cost more than a limit, but not less than 0", async () => {
    const request = { subject: byName("large"), limits, admitted: true };
    expect(
      await outcomesOf([
        { ...request, cost: 2 ** 31 - 1 },
        { ...request, cost: -1 },
      ]),
    ).toEqual([true, Code.InvalidArgument]);
  });
});
