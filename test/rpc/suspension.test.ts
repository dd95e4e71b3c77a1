/** The first calls after a suspension of the machine, before any poll: what ended meanwhile must be refused. */
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { Code } from "@connectrpc/connect";
import { afterAll, beforeAll, expect, it } from "vitest";
import { AdminService } from "../../src/gen/latchkey/v1/admin_service_pb.ts";
import { AuthService } from "../../src/gen/latchkey/v1/auth_service_pb.ts";
import { Freshness_Source, KeyService, Verdict } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { errorOf } from "../support/errors.ts";
import { startTestService, type TestService } from "../support/in-process-service.ts";

const HOUR_MS = 3_600_000;

let service: TestService;
beforeAll(async () => {
  service = await startTestService();
});
afterAll(() => service?.[Symbol.asyncDispose]());

const inHours = (hours: number) => timestampFromMs(service.clock.nowMs() + hours * HOUR_MS);

it("after a suspension an expired key is EXPIRED, and another one is still VALID", async () => {
  const verifier = service.client(KeyService, await service.newCredential("verify"));
  const short = await service.newKey({ name: "short", expireTime: inHours(1) });
  const long = await service.newKey({ name: "long", expireTime: inHours(9) });
  const ask = ({ apiKey }: { apiKey: string }) => verifier.verifyKey({ apiKey, cost: 0 });
  for (const key of [short, long]) expect(await ask(key)).toMatchObject({ verdict: Verdict.VALID });
  service.clock.suspend(2 * HOUR_MS);
  expect(await ask(short)).toMatchObject({ verdict: Verdict.EXPIRED });
  expect(await ask(long)).toMatchObject({ verdict: Verdict.VALID });
});

it("after a suspension an expired access token and an expired service credential are UNAUTHENTICATED", async () => {
  const admin = service.client(AdminService, service.admin);
  const issued = await admin.issueServiceCredential({ name: "short", scopes: ["verify"], expireTime: inHours(1) });
  const verifier = service.client(KeyService, issued.secret);
  const person = await service.newPerson();
  const user = service.client(AuthService, person.tokens.accessToken);
  const check = () =>
    verifier.checkRateLimit({ subject: { case: "name", value: "a subject" }, limits: [{ name: "n", perMinute: 9 }] });
  await Promise.all([check(), user.getCurrentUser({})]);
  service.clock.suspend(2 * HOUR_MS);
  const errors = [check(), user.getCurrentUser({})].map((call) => errorOf(call));
  for (const error of await Promise.all(errors)) expect(error).toMatchObject({ code: Code.Unauthenticated });
});

it("a key does not expire because only this host's clock was set forward", async () => {
  const verifier = service.client(KeyService, await service.newCredential("verify"));
  const key = await service.newKey({ name: "short", expireTime: inHours(1) });
  const ask = () => verifier.verifyKey({ apiKey: key.apiKey, cost: 0 });
  expect(await ask()).toMatchObject({ verdict: Verdict.VALID });
  service.clock.jump(2 * HOUR_MS);
  expect(await ask()).toMatchObject({ verdict: Verdict.VALID });
  await expect.poll(async () => (await ask()).freshness?.source).toBe(Freshness_Source.CACHE);
  expect(await ask()).toMatchObject({ verdict: Verdict.VALID });
});
