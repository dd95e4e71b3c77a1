import { type Client, Code } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { KeyService, VerdictSchema } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { errorOf } from "../support/errors.ts";
import { startTestService, type TestService } from "../support/service.ts";

describe("BatchVerifyKeys", () => {
  let service: TestService;
  let verifier: Client<typeof KeyService>;
  beforeAll(async () => {
    service = await startTestService();
    verifier = service.client(KeyService, await service.newCredential("verify"));
  });
  afterAll(() => service?.[Symbol.asyncDispose]());

  it("answers each request as VerifyKey would have, in order, and fails one without the others", async () => {
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

  it("counts a key that occurs more than once each time, in order", async () => {
    const { apiKey } = await service.newKey();
    const { results } = await verifier.batchVerifyKeys({ requests: Array.from({ length: 23 }, () => ({ apiKey })) });
    const valid = results.map(({ outcome }) => outcome.case === "response" && outcome.value.valid);
    expect(valid).toEqual([...Array(20).fill(true), ...Array(3).fill(false)]);
  });

  it("takes 256 requests and not one more, and none at all", async () => {
    const requests = Array.from({ length: 256 }, () => ({ apiKey: "junk" }));
    expect((await verifier.batchVerifyKeys({ requests })).results).toHaveLength(256);
    const tooMany = await errorOf(verifier.batchVerifyKeys({ requests: [...requests, { apiKey: "" }] }));
    expect(tooMany).toMatchObject({ code: Code.InvalidArgument, fields: ["requests"] });
    expect((await verifier.batchVerifyKeys({})).results).toEqual([]);
  });
});
