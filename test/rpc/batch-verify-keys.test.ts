import { toBinary } from "@bufbuild/protobuf";
import { type Client, Code } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { KeySchema } from "../../src/gen/latchkey/v1/key_pb.ts";
import {
  BatchVerifyKeysResponseSchema,
  KeyService,
  VerdictSchema,
  type VerifyKeyResponse,
} from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { errorOf } from "../support/errors.ts";
import { startTestService, type TestService } from "../support/in-process-service.ts";

describe("BatchVerifyKeys", () => {
  let service: TestService;
  let verifier: Client<typeof KeyService>;
  beforeAll(async () => {
    service = await startTestService();
    verifier = service.client(KeyService, await service.newCredential("verify"));
  });
  afterAll(() => service?.[Symbol.asyncDispose]());

  it("answers each request as VerifyKey does, in order, and lets one fail without the others", async () => {
    const [good, other] = [await service.newKey({ scopes: ["a"] }), await service.newKey()];
    await other.person.keys.disableKey({ keyId: other.key!.id });
    const { results } = await verifier.batchVerifyKeys({
      requests: [
        { apiKey: good.apiKey, requiredScopes: ["a"] },
        { apiKey: "junk" },
        { apiKey: good.apiKey, clientIp: "nonsense" },
        { apiKey: other.apiKey },
        { apiKey: good.apiKey, requiredScopes: ["b"] },
      ],
    });
    const seen = results.map(({ outcome }) =>
      outcome.case === "response" ? VerdictSchema.value[outcome.value.verdict]?.localName : outcome.value?.code,
    );
    expect(seen).toEqual(["VALID", "INVALID", Code.InvalidArgument, "DISABLED", "SCOPE_MISSING"]);
  });

  it("counts each occurrence of a key, in order", async () => {
    const { apiKey } = await service.newKey();
    const { results } = await verifier.batchVerifyKeys({ requests: Array.from({ length: 23 }, () => ({ apiKey })) });
    const valid = results.map(({ outcome }) => outcome.case === "response" && outcome.value.valid);
    expect(valid).toEqual([...Array(20).fill(true), ...Array(3).fill(false)]);
  });

  it("keeps its answer below a gRPC client's 4 MiB for the largest keys, as a page of ListKeys does", async () => {
    const many = (text: (n: string) => string) => Array.from({ length: 64 }, (_, n) => text(`${n}`.padStart(2, "0")));
    const fields = {
      name: "n".repeat(64),
      scopes: many((n) => `s${n}`),
      allowedIps: many((n) => `192.0.2.${Number(n)}`),
      allowedMethods: many((n) => `/${n}`),
      metadata: Object.fromEntries(Array.from({ length: 32 }, (_, n) => [`${n}`, "漢".repeat(110)])),
      description: "",
    };
    const bytesOf = (texts: readonly string[]) => texts.reduce((sum, text) => sum + Buffer.byteLength(text), 0);
    const { name, scopes, allowedIps, allowedMethods, metadata } = fields;
    const texts = [name, ...scopes, ...allowedIps, ...allowedMethods, ...Object.entries(metadata).flat()];
    // Scopes count twice.
    fields.description = "d".repeat(12_288 - bytesOf([...texts, ...scopes]));
    const { key, apiKey } = await service.newKey(fields);
    expect(250 * toBinary(KeySchema, key!).length).toBeLessThan(4 * 2 ** 20);

    const limits = Array.from({ length: 8 }, (_, n) => ({
      name: `${n}`.repeat(64),
      perMinute: 1_000_000_000,
      perDay: 1_000_000_000,
    }));
    const update = { key: { id: key!.id, limits: { perMinute: 1_000_000, perDay: 1_000_000 } } };
    const manager = service.client(KeyService, await service.newCredential("manage"));
    await manager.updateKey({ ...update, updateMask: { paths: ["limits"] } });
    const response = await verifier.batchVerifyKeys({
      requests: Array(256).fill({ apiKey, limits, clientIp: "192.0.2.1", method: "/01" }),
    });
    const verdict = response.results[0]!.outcome.value as VerifyKeyResponse;
    expect(verdict).toMatchObject({ valid: true, key: { description: fields.description } });
    expect(verdict.rateLimits).toHaveLength(18);
    expect(toBinary(BatchVerifyKeysResponseSchema, response).length).toBeLessThan(4 * 2 ** 20);
  });

  it("accepts 0 to 256 requests, and refuses 257", async () => {
    const requests = Array.from({ length: 256 }, () => ({ apiKey: "junk" }));
    expect((await verifier.batchVerifyKeys({ requests })).results).toHaveLength(256);
    const tooMany = await errorOf(verifier.batchVerifyKeys({ requests: [...requests, { apiKey: "" }] }));
    expect(tooMany).toMatchObject({ code: Code.InvalidArgument, fields: ["requests"] });
    expect((await verifier.batchVerifyKeys({})).results).toEqual([]);
  });
});
