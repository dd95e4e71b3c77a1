/** One contract for the middleware of every framework. */
import { Code, type ConnectError } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Latchkey } from "../../client/src/latchkey.ts";
import { QuotaFailureSchema, RetryInfoSchema } from "../../src/gen/google/rpc/error_details_pb.ts";
import { type Answer, DOORS, type DoorUnderTest, type Step } from "./doors.ts";
import type { World } from "./world.ts";

type Headers = readonly (readonly [string, string])[];
const STATUS_OF_CODE: Readonly<Record<number, number[]>> = {
  0: [200],
  [Code.Unauthenticated]: [401],
  [Code.PermissionDenied]: [403],
  [Code.ResourceExhausted]: [429],
  [Code.Unavailable]: [503],
  [Code.Internal]: [500],
};
const KEY: Step = ["requireApiKey", {}];

export function doorContract(start: () => Promise<World>): void {
  let world: World;
  beforeAll(async () => {
    world = await start();
  });
  afterAll(() => world[Symbol.asyncDispose]());

  describe.each(DOORS)("$name", (door) => {
    const ask = (steps: readonly Step[], headers: Headers, latchkey = world.latchkey) =>
      once(door, latchkey, steps, headers);

    it("serves a good key from either header, and tells the handler about it", async () => {
      const { apiKey, id } = await world.newKey();
      for (const headers of [[["X-API-Key", apiKey]], [["Authorization", `Bearer ${apiKey}`]]] as Headers[]) {
        const answer = await ask([KEY], headers);
        expect(answer).toMatchObject({ refusal: undefined, found: { keyId: id, windows: 2 } });
      }
      const both = await ask(
        [KEY],
        [
          ["x-api-key", apiKey],
          ["authorization", `bearer ${apiKey}`],
        ],
      );
      expect(both.found?.keyId).toBe(id);
    });

    it("tells the limits on success", async () => {
      const { apiKey } = await world.newKey({ limits: { perMinute: 60, perDay: 50 } });
      const { headers } = await ask([KEY], [["x-api-key", apiKey]]);
      expect(headers["ratelimit-policy"]).toBe('"minute";q=60;w=60, "day";q=50;w=86400');
      expect(headers.ratelimit).toMatch(/^"minute";r=59;t=\d+, "day";r=49;t=\d+$/);
      expect([headers["x-ratelimit-limit"], headers["x-ratelimit-remaining"]]).toEqual(["50", "49"]);
      expect(headers["x-ratelimit-reset"]).toMatch(/^\d+$/);
    });

    it("challenges a request without a credential", async () => {
      for (const headers of [[], [["x-api-key", ""]], [["authorization", "Basic eDp5"]]] as Headers[]) {
        const answer = await ask([KEY], headers);
        expectRefusal(answer, door, 401, "CREDENTIAL_MISSING");
        expect(answer.headers["www-authenticate"]).toBe('Bearer realm="api"');
      }
    });

    it("refuses two credentials that differ, and one header twice", async () => {
      const [one, two] = [(await world.newKey()).apiKey, (await world.newKey()).apiKey];
      const requests: Headers[] = [
        [
          ["x-api-key", one],
          ["authorization", `Bearer ${two}`],
        ],
        [
          ["x-api-key", one],
          ["x-api-key", two],
        ],
        [
          ["x-api-key", one],
          ["x-api-key", one],
        ],
        [["authorization", `Bearer ${one}, Bearer ${two}`]],
      ];
      for (const headers of requests) {
        const answer = await ask([KEY], headers);
        expectRefusal(answer, door, 401, "CREDENTIAL_AMBIGUOUS");
        expect(answer.headers["www-authenticate"]).toBe('Bearer realm="api", error="invalid_request"');
      }
    });

    it("refuses keys that are not good, and says why to one who has the secret", async () => {
      const [disabled, revoked, orphan] = await Promise.all([world.newKey(), world.newKey(), world.newKey()]);
      await world.disableKey(disabled.id);
      await world.revokeKey(revoked.id);
      await world.disableOwner(orphan.ownerId);
      const cases = [
        ["invented", 401, "INVALID"],
        [disabled.apiKey, 401, "DISABLED"],
        [revoked.apiKey, 401, "REVOKED"],
        [orphan.apiKey, 403, "OWNER_DISABLED"],
      ] as const;
      for (const [apiKey, status, code] of cases) {
        const answer = await ask([KEY], [["x-api-key", apiKey]]);
        expectRefusal(answer, door, status, code);
        const challenge = status === 401 ? 'Bearer realm="api", error="invalid_token"' : undefined;
        expect(answer.headers["www-authenticate"]).toBe(challenge);
        expect(JSON.stringify(answer.raw)).not.toContain(apiKey.slice(-20));
      }
    });

    it("asks for scopes and tiers", async () => {
      const { apiKey } = await world.newKey({ scopes: ["orders:read"], tier: "basic" });
      const headers: Headers = [["x-api-key", apiKey]];
      expect((await ask([["requireApiKey", { scopes: () => ["orders:read"] }]], headers)).found).toBeDefined();
      const scope = await ask([["requireApiKey", { scopes: ["orders:read", "orders:write"] }]], headers);
      expectRefusal(scope, door, 403, "SCOPE_MISSING");
      expect(scope.headers["www-authenticate"]).toBe(
        'Bearer realm="api", error="insufficient_scope", scope="orders:read orders:write"',
      );
      expectRefusal(await ask([["requireApiKey", { tiers: ["pro"] }]], headers), door, 403, "TIER_NOT_ALLOWED");
    });

    it("passes the address and the method on", async () => {
      const here = await world.newKey({ allowedIps: ["127.0.0.1/32"] });
      const elsewhere = await world.newKey({ allowedIps: ["192.0.2.0/24"] });
      const method = door.kind === "http" ? "GET /orders" : "/grpc.health.v1.Health/Check";
      const right = await world.newKey({ allowedMethods: [method] });
      const wrong = await world.newKey({ allowedMethods: ["/other/**"] });
      expect((await ask([KEY], [["x-api-key", here.apiKey]])).found).toBeDefined();
      expect((await ask([KEY], [["x-api-key", right.apiKey]])).found).toBeDefined();
      expectRefusal(await ask([KEY], [["x-api-key", elsewhere.apiKey]]), door, 403, "IP_NOT_ALLOWED");
      expectRefusal(await ask([KEY], [["x-api-key", wrong.apiKey]]), door, 403, "METHOD_NOT_ALLOWED");
    });

    it("counts a route's own limit with the verdict", async () => {
      const { apiKey } = await world.newKey();
      const steps: Step[] = [["requireApiKey", { limits: [{ name: "search", perMinute: 2 }] }]];
      const answers = await inTurn(door, world.latchkey, steps, 3, [["x-api-key", apiKey]]);
      expect(answers.map(({ refusal }) => refusal)).toEqual([undefined, undefined, "RATE_LIMITED"]);
      expect(answers[0]!.headers["ratelimit-policy"]).toContain('"search/minute";q=2;w=60');
      expectWait(answers[2]!, door);
    });

    it("limits a subject that is no key", async () => {
      const subject = `subject ${door.name} ${Math.random()}`;
      const steps: Step[] = [["rateLimit", { subject: () => subject, name: "open", perMinute: 2, perDay: 10 }]];
      const answers = await inTurn(door, world.latchkey, steps, 3, []);
      expect(answers.map(({ refusal }) => refusal)).toEqual([undefined, undefined, "RATE_LIMITED"]);
      expect(answers[1]!.headers.ratelimit).toMatch(/^"open\/minute";r=0;t=\d+, "open\/day";r=8;t=\d+$/);
      expectWait(answers[2]!, door);
    });

    it("tells the windows of several guards together", async () => {
      const { apiKey, id } = await world.newKey();
      const steps: Step[] = [["rateLimit", { subject: () => id, name: "both", perMinute: 9 }], KEY];
      const answer = await ask(steps, [["x-api-key", apiKey]]);
      expect(answer.found).toMatchObject({ keyId: id, windows: 3 });
      expect(answer.headers["ratelimit-policy"]).toMatch(/^"both\/minute";q=9;w=60, "minute";/);
    });

    it("asks for a person", async () => {
      const token = await world.newToken();
      const headers: Headers = [["authorization", `Bearer ${token.accessToken}`]];
      expect((await ask([["requireUser"]], headers)).found).toMatchObject({ userId: token.userId });
      expectRefusal(await ask([["requireUser"]], []), door, 401, "CREDENTIAL_MISSING");
      const forged = await ask([["requireUser"]], [["authorization", "Bearer a.b.c"]]);
      expectRefusal(forged, door, 401, "TOKEN_INVALID");
      await world.endSessions(token);
      // The stream of changes tells the client.
      await expect.poll(async () => (await ask([["requireUser"]], headers)).refusal).toBe("TOKEN_INVALID");
      expectRefusal(await ask([["requireUser"]], headers), door, 401, "TOKEN_INVALID");
    });

    it("answers 503 without a verdict, and never runs the handler", async () => {
      const { apiKey } = await world.newKey();
      for (const latchkey of [world.unreachable, world.refused]) {
        const answer = await ask([KEY], [["x-api-key", apiKey]], latchkey);
        expectRefusal(answer, door, 503, "UNAVAILABLE");
        expect(Number(answer.headers["retry-after"])).toBeGreaterThanOrEqual(1);
      }
    });

    it("answers 500 for options that the service refuses", async () => {
      const { apiKey } = await world.newKey();
      const answer = await ask([["requireApiKey", { scopes: ["not a scope"] }]], [["x-api-key", apiKey]]);
      expectRefusal(answer, door, 500, "CONFIGURATION");
    });
  });
}

async function once(
  door: DoorUnderTest,
  latchkey: Latchkey,
  steps: readonly Step[],
  headers: Headers,
): Promise<Answer> {
  return (await inTurn(door, latchkey, steps, 1, headers))[0]!;
}

/** The same request several times, one after the other. */
async function inTurn(
  door: DoorUnderTest,
  latchkey: Latchkey,
  steps: readonly Step[],
  times: number,
  headers: Headers,
): Promise<Answer[]> {
  await using running = await door.start(latchkey, steps);
  const answers: Answer[] = [];
  for (let at = 0; at < times; at++) answers.push(await running.ask(headers));
  return answers;
}

function expectRefusal(answer: Answer, { kind }: DoorUnderTest, status: number, code: string): void {
  expect(answer).toMatchObject({ refusal: code, found: undefined });
  if (kind === "rpc") {
    expect(STATUS_OF_CODE[answer.code]).toEqual([status]);
    return;
  }
  expect(answer.code).toBe(status);
  expect(answer.headers).toMatchObject({ "content-type": "application/problem+json", "cache-control": "no-store" });
  expect(answer.raw).toEqual({ type: "about:blank", title: expect.any(String), status, code });
}

/** The wait of a refusal: whole seconds in the header, and exact in gRPC's details. */
function expectWait(answer: Answer, door: DoorUnderTest): void {
  expectRefusal(answer, door, 429, "RATE_LIMITED");
  const seconds = Number(answer.headers["retry-after"]);
  expect(seconds).toBeGreaterThan(0);
  expect(seconds).toBeLessThanOrEqual(62);
  expect(answer.headers.ratelimit).toContain(";r=0;");
  if (door.kind === "http") return;
  const error = answer.raw as ConnectError;
  const delay = error.findDetails(RetryInfoSchema)[0]!.retryDelay!;
  expect(Math.ceil(Number(delay.seconds) + delay.nanos / 1e9)).toBe(seconds);
  expect(error.findDetails(QuotaFailureSchema)[0]!.violations[0]!.subject).toMatch(/\/minute$/);
}
