import { type Client, Code } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { KeyService } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { errorOf } from "../support/errors.ts";
import { startTestService, type TestService } from "../support/in-process-service.ts";

describe("CheckRateLimit", () => {
  let service: TestService;
  let verifier: Client<typeof KeyService>;
  beforeAll(async () => {
    service = await startTestService();
    verifier = service.client(KeyService, await service.newCredential("verify"));
  });
  afterAll(() => service?.[Symbol.asyncDispose]());

  const byName = (name: string) => ({ case: "name" as const, value: name });
  const byKey = (keyId: string) => ({ case: "keyId" as const, value: keyId });

  it("counts in the same windows as VerifyKey, and ignores the key's state", async () => {
    const { apiKey, key, person } = await service.newKey();
    await verifier.verifyKey({ apiKey, cost: 5 });
    await person.keys.disableKey({ keyId: key!.id });
    const answer = await verifier.checkRateLimit({ subject: byKey(key!.id), cost: 3 });
    expect(answer.allowed).toBe(true);
    expect(answer.rateLimits.map(({ limit, remaining }) => [limit, remaining])).toEqual([
      [20, 12],
      [1000, 992],
    ]);
  });

  it("allows exactly 100 of 1,000 parallel calls against a limit of 100", async () => {
    const request = { subject: byName("parallel"), limits: [{ name: "burst", perMinute: 100 }] };
    const answers = await Promise.all(Array.from({ length: 1000 }, () => verifier.checkRateLimit(request)));
    expect(answers.filter(({ allowed }) => allowed)).toHaveLength(100);
    expect(answers.every(({ allowed, retryAfter }) => allowed === (retryAfter === undefined))).toBe(true);
  });

  it("keeps the windows of each subject apart, whatever its name", async () => {
    const { key } = await service.newKey();
    const limits = [{ name: "n", perMinute: 1 }];
    const names = ["a", "a:", "{a}", "a}{", `key:${key!.id}`, key!.id, "a\u00e9", "ａ"];
    for (const name of names) {
      expect((await verifier.checkRateLimit({ subject: byName(name), limits })).allowed).toBe(true);
      expect((await verifier.checkRateLimit({ subject: byName(name), limits })).allowed).toBe(false);
    }
    expect((await verifier.checkRateLimit({ subject: byKey(key!.id), limits })).allowed).toBe(true);
  });

  it("keeps limits of different names apart, and shares one window between different limits of one name", async () => {
    const subject = byName("shared");
    expect((await verifier.checkRateLimit({ subject, limits: [{ name: "a", perMinute: 5 }], cost: 5 })).allowed).toBe(
      true,
    );
    expect((await verifier.checkRateLimit({ subject, limits: [{ name: "b", perMinute: 5 }], cost: 5 })).allowed).toBe(
      true,
    );
    const { rateLimits } = await verifier.checkRateLimit({ subject, limits: [{ name: "a", perMinute: 9 }], cost: 0 });
    expect(rateLimits[0]?.remaining).toBe(4);
  });

  it("allows nothing for a limit of 0, and reads the window without counting for a cost of 0", async () => {
    const nothing = await verifier.checkRateLimit({ subject: byName("zero"), limits: [{ name: "a", perDay: 0 }] });
    expect(nothing.allowed).toBe(false);
    expect(nothing.retryAfter).toBeUndefined();
    const look = { subject: byName("look"), limits: [{ name: "a", perMinute: 1 }], cost: 0 };
    for (let n = 0; n < 5; n++) {
      const { allowed, rateLimits } = await verifier.checkRateLimit(look);
      expect([allowed, rateLimits[0]?.remaining]).toEqual([true, 1]);
    }
  });

  it("names the wrong fields of a request", async () => {
    const { key } = await service.newKey();
    const limits = [{ name: "a", perMinute: 5 }];
    const wrong = async (request: Parameters<typeof verifier.checkRateLimit>[0]) => {
      const { code, fields } = await errorOf(verifier.checkRateLimit(request));
      expect(code).toBe(Code.InvalidArgument);
      return fields;
    };
    expect(await wrong({})).toEqual(["subject"]);
    expect(await wrong({ subject: byName(""), limits })).toEqual(["name"]);
    expect(await wrong({ subject: byName("é".repeat(129)), limits })).toEqual(["name"]);
    expect(await wrong({ subject: byName("x") })).toEqual(["limits"]);
    expect(await wrong({ subject: byName("x"), limits, cost: 6 })).toEqual(["cost"]);
    expect(await wrong({ subject: byName("x"), limits, cost: -1 })).toEqual(["cost"]);
    expect(await wrong({ subject: byKey(key!.id), cost: 21 })).toEqual(["cost"]);
    const unknown = await errorOf(verifier.checkRateLimit({ subject: byKey("key_AAAAAAAAAAAAAAAA") }));
    expect(unknown).toMatchObject({ code: Code.NotFound, reason: "KEY_NOT_FOUND" });
  });
});
