/** Near verification with the running service, while the clock of its database is set. */
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createLatchkey, type Latchkey, type Verdict } from "../../client/src/latchkey.ts";
import { KeyService } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { startTestService, type TestService } from "../support/in-process-service.ts";
import { letPass, until } from "../support/until.ts";

const MINUTE_MS = 60_000;
/** 5 s, and 1 s that each clock may fail to notice of a suspension. */
const BOUND_MS = 7000;

describe.each([MINUTE_MS, -MINUTE_MS])("where the database's clock is set by %d ms", (stepMs) => {
  let service: TestService;
  let latchkey: Latchkey;

  beforeAll(async () => {
    service = await startTestService();
    latchkey = createLatchkey({
      ...{ baseUrl: `http://${service.address}`, deadlineMs: 10_000, near: { counting: "after" } },
      credential: await service.newCredential("verify"),
    });
    await latchkey.ready();
  });
  afterAll(async () => {
    await latchkey?.close();
    await service?.[Symbol.asyncDispose]();
  });

  /** Sets the database's clock, and no other. */
  function step(): void {
    service.clock.suspend(stepMs);
    service.clock.jump(-stepMs);
  }

  const isNear = async (apiKey: string) => {
    const { valid, source } = await latchkey.verify({ apiKey });
    return valid && source === "near";
  };

  async function nearKey(expiresInMs: number): Promise<{ apiKey: string; id: string }> {
    const expireTime = timestampFromMs(service.clock.nowMs() + expiresInMs);
    const { user } = await service.newPerson();
    const limits = { perMinute: 100_000, perDay: 1_000_000 };
    const keys = service.client(KeyService, service.admin);
    const { apiKey, key } = await keys.issueKey({ name: "a key", ownerId: user.id, limits, expireTime });
    await until(() => isNear(apiKey), "it is accepted near");
    await letPass(300, "the news of its issue has come");
    await until(() => isNear(apiKey), "it is accepted near");
    return { apiKey, id: key!.id };
  }

  it("a good key stays VALID, a revoked one is refused, and one that expired by that clock is EXPIRED", async () => {
    const [good, revoked] = [await nearKey(60 * MINUTE_MS), await nearKey(60 * MINUTE_MS)];
    const expiring = await nearKey(MINUTE_MS / 2);
    step();
    const steppedAtMs = performance.now();
    await service.client(KeyService, service.admin).revokeKey({ keyId: revoked.id });
    const revokedAtMs = performance.now();
    await until(() => latchkey.verifySync(revoked)?.valid !== true, "it is not accepted near");
    expect(performance.now() - revokedAtMs).toBeLessThan(BOUND_MS);
    expect(await latchkey.verify(revoked)).toMatchObject({ verdict: "REVOKED" });
    let verdict: Verdict;
    do {
      verdict = await latchkey.verify(expiring);
      expect(await latchkey.verify(good)).toMatchObject({ valid: true });
      await letPass(20, "asks again at a steady pace");
    } while (verdict.valid && performance.now() - steppedAtMs < BOUND_MS);
    expect(verdict.verdict).toBe(stepMs > 0 ? "EXPIRED" : "VALID");
    await until(() => isNear(good.apiKey), "the good key is accepted near again");
  });
});
