/** ShouldRateLimit of Envoy's rate limit service. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { type Client, Code } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  RateLimitResponse_Code as LimitCode,
  type RateLimitRequestSchema,
  type RateLimitResponse,
  RateLimitService,
  RateLimitResponse_RateLimit_Unit as Unit,
} from "../../src/gen/envoy/service/ratelimit/v3/rls_pb.ts";
import { RateLimitUnit } from "../../src/gen/envoy/type/v3/ratelimit_unit_pb.ts";
import { AdminService } from "../../src/gen/latchkey/v1/admin_service_pb.ts";
import { KeyService } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { errorOf } from "../support/errors.ts";
import { startTestService, type TestService } from "../support/in-process-service.ts";

const { OK, OVER_LIMIT } = LimitCode;
type Descriptors = NonNullable<MessageInitShape<typeof RateLimitRequestSchema>["descriptors"]>;

const FILE = {
  domains: [
    {
      domain: "shop",
      limits: [
        { descriptor: [{ key: "ip" }], limits: [{ unit: "MINUTE", requests_per_unit: 3 }] },
        {
          descriptor: [{ key: "name", value: "tight" }],
          limits: [
            { unit: "MINUTE", requests_per_unit: 10 },
            { unit: "DAY", requests_per_unit: 4 },
          ],
        },
        { descriptor: [{ key: "closed" }], limits: [{ unit: "DAY", requests_per_unit: 0 }] },
      ],
    },
  ],
};

describe("ShouldRateLimit", () => {
  let folder: string;
  let service: TestService;
  let envoy: Client<typeof RateLimitService>;
  let verifier: Client<typeof KeyService>;
  let names = 0;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "latchkey-limits-"));
    const file = join(folder, "limits.json");
    await writeFile(file, JSON.stringify(FILE));
    service = await startTestService({ LATCHKEY_RATE_LIMITS_FILE: file });
    const credential = await service.newCredential("verify");
    envoy = service.client(RateLimitService, credential);
    verifier = service.client(KeyService, credential);
  });
  afterAll(async () => {
    await service?.[Symbol.asyncDispose]();
    await rm(folder, { recursive: true, force: true });
  });

  const newValue = () => `value ${++names}`;
  const descriptor = (key: string, value: string) => ({ entries: [{ key, value }] });
  const override = (value: string, requestsPerUnit: number, unit: RateLimitUnit = RateLimitUnit.MINUTE) => ({
    ...descriptor("name", value),
    limit: { requestsPerUnit, unit },
  });
  const ask = (...descriptors: Descriptors) => envoy.shouldRateLimit({ domain: "shop", descriptors });
  const codes = ({ statuses }: RateLimitResponse) => statuses.map(({ code }) => code);
  const remaining = ({ statuses }: RateLimitResponse) => statuses.map(({ limitRemaining }) => limitRemaining);
  const header = ({ responseHeadersToAdd }: RateLimitResponse, name: string) =>
    responseHeadersToAdd.find(({ key }) => key === name)?.value;

  describe("for a key", () => {
    it("counts in the windows of VerifyKey and CheckRateLimit, whatever the domain", async () => {
      const { apiKey, key } = await service.newKey();
      await verifier.verifyKey({ apiKey, cost: 5 });
      await verifier.checkRateLimit({ subject: { case: "keyId", value: key!.id }, cost: 2 });
      const answer = await ask({ ...descriptor("key", key!.id), hitsAddend: 3n });
      expect(answer.statuses).toMatchObject([
        { code: OK, currentLimit: { requestsPerUnit: 20, unit: Unit.MINUTE }, limitRemaining: 10 },
      ]);
      const descriptors = [descriptor("key", key!.id)];
      expect(remaining(await envoy.shouldRateLimit({ domain: "other", descriptors }))).toEqual([9]);
      expect((await verifier.verifyKey({ apiKey })).rateLimits[0]?.remaining).toBe(8);
    });

    it("is over the limit with the headers and the body of a 429", async () => {
      const { key } = await service.newKey();
      const answer = await ask({ ...descriptor("key", key!.id), hitsAddend: 20n }).then(() =>
        ask(descriptor("key", key!.id)),
      );
      expect(answer.overallCode).toBe(OVER_LIMIT);
      expect(answer.statuses[0]?.durationUntilReset?.seconds).toBeGreaterThan(50n);
      expect(Number(header(answer, "retry-after"))).toBeGreaterThan(50);
      expect(header(answer, "content-type")).toBe("application/problem+json");
      expect(header(answer, "cache-control")).toBe("no-store");
      expect(JSON.parse(Buffer.from(answer.rawBody).toString())).toMatchObject({ status: 429, code: "RATE_LIMITED" });
    });

    it("counts a limit that the request brings beside the key's own", async () => {
      const { key } = await service.newKey();
      const limited = { ...descriptor("key", key!.id), limit: { requestsPerUnit: 2, unit: RateLimitUnit.DAY } };
      const first = await ask(limited);
      expect(first.statuses).toMatchObject([
        { currentLimit: { requestsPerUnit: 2, unit: Unit.DAY }, limitRemaining: 1 },
      ]);
      await ask(limited);
      expect(codes(await ask(limited))).toEqual([OVER_LIMIT]);
      expect(remaining(await ask(descriptor("key", key!.id)))).toEqual([17]);
    });

    it("that does not exist is over a limit of 0, without a time to retry", async () => {
      for (const id of ["key_AAAAAAAAAAAAAAAA", "", "key_", "x".repeat(5_000), "usr_AAAAAAAAAAAAAAAA"]) {
        const answer = await ask(descriptor("key", id));
        expect(answer.statuses).toMatchObject([{ code: OVER_LIMIT, currentLimit: { requestsPerUnit: 0 } }]);
        expect(header(answer, "retry-after")).toBeUndefined();
      }
    });
  });

  describe("for a name", () => {
    it("counts in the windows of CheckRateLimit for the same subject, with the limit that the request brings", async () => {
      const answer = await ask(override("a/b", 5));
      expect(answer.statuses).toMatchObject([{ code: OK, limitRemaining: 4 }]);
      const limits = [{ name: "envoy", perMinute: 5 }];
      const subject = { case: "name" as const, value: "shop/name=a%2Fb" };
      expect((await verifier.checkRateLimit({ subject, limits })).rateLimits[0]?.remaining).toBe(3);
      expect(remaining(await ask(override("a/b", 5)))).toEqual([2]);
    });

    it("has windows of its own in each domain, and for each text, also with separators", async () => {
      const texts = ["n", "n/name=n", "shop/name=n", "{n}", "n:", ":n", "name:n", "n%2F", "N", "n ", ""];
      for (const domain of ["shop", "shop/name=n", "shop/name"]) {
        for (const text of texts) {
          const descriptors = [override(text, 1)];
          expect(codes(await envoy.shouldRateLimit({ domain, descriptors })), `${domain} ${text}`).toEqual([OK]);
          expect(codes(await envoy.shouldRateLimit({ domain, descriptors })), `${domain} ${text}`).toEqual([
            OVER_LIMIT,
          ]);
        }
      }
      const { key } = await service.newKey();
      expect(codes(await ask(override(`key:${key!.id}`, 1), descriptor("key", key!.id)))).toEqual([OK, OK]);
      expect(remaining(await ask(descriptor("key", key!.id)))).toEqual([18]);
    });

    it("keeps its count if the figure changes, and reports the figure of the request", async () => {
      const name = newValue();
      await ask({ ...override(name, 9), hitsAddend: 4n });
      expect((await ask(override(name, 100, RateLimitUnit.DAY))).statuses).toMatchObject([
        { currentLimit: { requestsPerUnit: 100, unit: Unit.DAY }, limitRemaining: 95 },
      ]);
      expect(codes(await ask(override(name, 3)))).toEqual([OVER_LIMIT]);
    });
  });

  describe("for other descriptors", () => {
    it("takes the limits of the file, and those that the request brings before them", async () => {
      const ip = newValue();
      const answers = [];
      for (let call = 0; call < 4; call++) answers.push(codes(await ask(descriptor("ip", ip)))[0]);
      expect(answers).toEqual([OK, OK, OK, OVER_LIMIT]);
      const wide = { ...descriptor("ip", ip), limit: { requestsPerUnit: 9, unit: RateLimitUnit.MINUTE } };
      expect(remaining(await ask(wide))).toEqual([5]);
    });

    it("shows the tighter of two windows, and over the limit the one that is full", async () => {
      const first = await ask(descriptor("name", "tight"));
      expect(first.statuses).toMatchObject([
        { currentLimit: { requestsPerUnit: 4, unit: Unit.DAY }, limitRemaining: 3 },
      ]);
      const denied = await ask({ ...descriptor("name", "tight"), hitsAddend: 4n });
      expect(denied.statuses).toMatchObject([
        { code: OVER_LIMIT, currentLimit: { unit: Unit.DAY }, limitRemaining: 3 },
      ]);
    });

    it("is OK without a limit, and says nothing of one", async () => {
      const [status] = (await ask(descriptor("unknown", "x"))).statuses;
      expect([status?.code, status?.currentLimit, status?.durationUntilReset]).toEqual([OK, undefined, undefined]);
      const elsewhere = await envoy.shouldRateLimit({ domain: "elsewhere", descriptors: [descriptor("closed", "x")] });
      expect(elsewhere.overallCode).toBe(OK);
      expect(elsewhere.responseHeadersToAdd).toEqual([]);
    });
  });

  it("has one status for each descriptor, in order, and counts none of a request that is over one limit", async () => {
    const [one, other] = [newValue(), newValue()];
    const denied = await ask(
      descriptor("ip", one),
      descriptor("closed", "x"),
      descriptor("none", ""),
      override(other, 2),
    );
    expect(codes(denied)).toEqual([OK, OVER_LIMIT, OK, OK]);
    expect(remaining(denied)).toEqual([3, 0, 0, 2]);
    expect(denied.overallCode).toBe(OVER_LIMIT);
    expect(remaining(await ask(descriptor("ip", one), override(other, 2)))).toEqual([2, 1]);
  });

  it("counts a subject twice if two descriptors name it", async () => {
    const ip = newValue();
    expect(
      codes(await ask({ ...descriptor("ip", ip), hitsAddend: 2n }, { ...descriptor("ip", ip), hitsAddend: 2n })),
    ).toEqual([OK, OVER_LIMIT]);
    expect(remaining(await ask(descriptor("ip", ip), descriptor("ip", ip)))).toEqual([2, 1]);
  });

  it("takes a descriptor's hits before the request's, and counts 0 as 1", async () => {
    const value = newValue();
    const limited = override(value, 100);
    const hits = async (hitsAddend: number, own?: bigint) =>
      remaining(
        await envoy.shouldRateLimit({
          domain: "shop",
          hitsAddend,
          descriptors: [own === undefined ? limited : { ...limited, hitsAddend: own }],
        }),
      )[0];
    expect(await hits(0)).toBe(99);
    expect(await hits(9)).toBe(90);
    expect(await hits(9, 20n)).toBe(70);
    expect(await hits(9, 0n)).toBe(69);
    expect(await hits(0, 2n ** 64n - 1n), "more than the limit never fits").toBe(69);
  });

  it("admits exactly 50 of 400 parallel requests against a limit of 50", async () => {
    const limited = override(newValue(), 50);
    const answers = await Promise.all(Array.from({ length: 400 }, () => ask(limited, override(newValue(), 10))));
    expect(answers.filter(({ overallCode }) => overallCode === OK)).toHaveLength(50);
  });

  it("names the wrong fields of a request", async () => {
    const wrong = await errorOf(
      envoy.shouldRateLimit({
        descriptors: [{}, { ...descriptor("name", "a"), isNegativeHits: true }, override("a", 1, RateLimitUnit.HOUR)],
      }),
    );
    expect(wrong).toMatchObject({
      code: Code.InvalidArgument,
      fields: ["domain", "descriptors[0].entries", "descriptors[1].is_negative_hits", "descriptors[2].limit.unit"],
    });
  });

  it("takes descriptors with values of 60 KB each", async () => {
    const long = "x".repeat(60_000);
    const descriptors = ["a", "b", "c"].map((end) => ({ ...override(long + end, 1) }));
    expect(codes(await ask(...descriptors))).toEqual([OK, OK, OK]);
    expect(codes(await ask(...descriptors))).toEqual([OVER_LIMIT, OVER_LIMIT, OVER_LIMIT]);
  });

  it("is for service credentials with the scope verify", async () => {
    const { person } = await service.newKey();
    const by = (credential?: string) =>
      service
        .client(RateLimitService, credential)
        .shouldRateLimit({ domain: "d", descriptors: [descriptor("a", "b")] });
    expect((await errorOf(by())).code).toBe(Code.Unauthenticated);
    expect((await errorOf(by(person.tokens.accessToken))).code).toBe(Code.PermissionDenied);
    expect((await errorOf(by(await service.newCredential("manage")))).code).toBe(Code.PermissionDenied);
    expect((await by(await service.newCredential("verify"))).overallCode).toBe(OK);
  });

  it("takes a reset of an operator's into account", async () => {
    const { key } = await service.newKey();
    await ask({ ...descriptor("key", key!.id), hitsAddend: 20n });
    expect(codes(await ask(descriptor("key", key!.id)))).toEqual([OVER_LIMIT]);
    await service.client(AdminService, service.admin).resetRateLimits({ keyId: key!.id });
    expect(codes(await ask(descriptor("key", key!.id)))).toEqual([OK]);
  });
});
