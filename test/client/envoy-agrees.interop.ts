/** The middleware and Envoy's door give the same answer for the same facts. */
import type { ConnectError } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createLatchkey, type Latchkey } from "../../client/src/latchkey.ts";
import { Authorization } from "../../src/gen/envoy/service/auth/v3/external_auth_pb.ts";
import { AdminService } from "../../src/gen/latchkey/v1/admin_service_pb.ts";
import { KeyService } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { checkOf, type Done, doneBy } from "../support/ext-authz.ts";
import { startTestService, type TestService } from "../support/in-process-service.ts";
import { type Answer, DOORS, type Step } from "./doors.ts";

type Headers = readonly (readonly [string, string])[];

/** One request to a route, as both doors know it. */
interface Case {
  readonly name: string;
  readonly steps: readonly Step[];
  readonly route: Readonly<Record<string, string>>;
  readonly headers: Headers;
}

/** Fields of an answer that a decision makes. Others are the server's own. */
const DECIDED = /^(ratelimit|ratelimit-policy|x-ratelimit-.*|retry-after|www-authenticate|content-type|cache-control)$/;

describe("the middleware and Envoy's Check", () => {
  let service: TestService;
  let latchkey: Latchkey;
  /** Cases for one door. Each door has keys of its own, since a request counts. */
  let casesFor: () => Promise<readonly Case[]>;
  beforeAll(async () => {
    service = await startTestService();
    const credential = await service.newCredential("verify");
    latchkey = createLatchkey({ baseUrl: `http://${service.address}`, credential, deadlineMs: 10_000 });
    casesFor = () => casesOf(service);
  });
  afterAll(async () => {
    await latchkey?.close();
    await service?.[Symbol.asyncDispose]();
  });

  const check = async (headers: Headers, route: Case["route"], isRpc: boolean): Promise<Done> => {
    const [method, path] = isRpc ? ["POST", "/grpc.health.v1.Health/Check"] : ["GET", "/orders"];
    const type: Headers = isRpc ? [["content-type", "application/grpc"]] : [];
    const asked = { method, path, address: "127.0.0.1", headers: [...headers, ...type], raw: true, route };
    return doneBy(await service.client(Authorization, service.admin).check(checkOf(asked)));
  };

  it.each(["node:http", "Connect"])("agree with the middleware of %s", async (name) => {
    const door = DOORS.find((each) => each.name === name)!;
    const isRpc = door.kind === "rpc";
    const [theirs, ours] = [await casesFor(), await casesFor()];
    const refusals = new Set<string | undefined>();
    for (const [at, { name: what, steps, headers }] of theirs.entries()) {
      await using running = await door.start(latchkey, steps);
      const answer = await running.ask(headers);
      const done = await check(ours[at]!.headers, ours[at]!.route, isRpc);
      expect(ofEnvoy(done, isRpc), what).toEqual(ofMiddleware(answer, isRpc));
      refusals.add(answer.refusal);
    }
    expect(refusals.size).toBe(14);
  });
});

function ofMiddleware({ code, headers, refusal, raw }: Answer, isRpc: boolean) {
  const text = isRpc ? (raw as ConnectError | undefined)?.rawMessage : refusal && raw;
  return { code, text: text ?? undefined, fields: decided(headers, isRpc), isRefused: refusal !== undefined };
}

function ofEnvoy({ admitted, code, status, headers, body }: Done, isRpc: boolean) {
  const text = isRpc ? body : JSON.parse(body === "" ? "null" : body);
  return {
    code: isRpc ? code : (status ?? 200),
    text: text === null || text === "" ? undefined : text,
    fields: decided(headers, isRpc),
    isRefused: !admitted,
  };
}

/** The decided fields, without the seconds, which differ by the moment of the request. */
function decided(headers: Readonly<Record<string, string>>, isRpc: boolean) {
  const fields = Object.entries(headers).filter(([name]) => DECIDED.test(name) && !(isRpc && name === "content-type"));
  return Object.fromEntries(
    fields.map(([name, value]) => [
      name,
      /^(retry-after|x-ratelimit-reset)$/.test(name) ? "seconds" : value.replaceAll(/;t=\d+/g, ";t=seconds"),
    ]),
  );
}

async function casesOf(service: TestService): Promise<readonly Case[]> {
  const admin = service.client(AdminService, service.admin);
  const keys = service.client(KeyService, service.admin);
  const people = [await service.newPerson(), await service.newPerson()] as const;
  const [owner, orphaned] = people;
  for (const { user } of people) await admin.updateUser({ user: { id: user.id, tier: "enterprise", scopes: ["*"] } });
  const newKey = async (more: Parameters<typeof keys.issueKey>[0] = {}) => {
    const { apiKey, key } = await keys.issueKey({ name: "a key", ownerId: owner.user.id, tier: "basic", ...more });
    return { apiKey, keyId: key!.id };
  };
  const [good, disabled, revoked] = [await newKey({ scopes: ["a"] }), await newKey(), await newKey()];
  const orphan = await newKey({ ownerId: orphaned.user.id });
  await keys.disableKey({ keyId: disabled.keyId });
  await keys.revokeKey({ keyId: revoked.keyId });
  await admin.disableUser({ userId: orphaned.user.id });
  const elsewhere = await newKey({ allowedIps: ["192.0.2.0/24"] });
  const other = await newKey({ allowedMethods: ["/other/**"] });
  const full = await newKey({ limits: { perMinute: 0 } });
  const dear = await newKey({ limits: { perMinute: 5 } });
  const token = owner.tokens.accessToken;

  const own = (apiKey: string): Headers => [["x-api-key", apiKey]];
  const bearer = (text: string): Headers => [["authorization", `Bearer ${text}`]];
  const key: readonly Step[] = [["requireApiKey", {}]];
  const user: readonly Step[] = [["requireUser"]];
  const plain = (name: string, headers: Headers): Case => ({ name, steps: key, route: {}, headers });
  const asking = (
    name: string,
    options: Extract<Step[1], object>,
    route: Case["route"],
    headers = own(good.apiKey),
  ): Case => ({
    name,
    steps: [["requireApiKey", options as never]],
    route,
    headers,
  });
  const person = (name: string, headers: Headers): Case => ({
    name,
    steps: user,
    route: { "latchkey.accept": "user" },
    headers,
  });
  return [
    plain("no credential", []),
    plain("another scheme", [["authorization", "Basic eDp5"]]),
    plain("a good key", own(good.apiKey)),
    plain("a good key as Bearer", bearer(good.apiKey)),
    plain("one key in both", [...own(good.apiKey), ...bearer(good.apiKey)]),
    plain("two that differ", [...own(good.apiKey), ...bearer("another")]),
    plain("one twice", [...own(good.apiKey), ...own(good.apiKey)]),
    plain("an invented key", own("invented")),
    plain("a disabled key", own(disabled.apiKey)),
    plain("a revoked key", own(revoked.apiKey)),
    plain("a disabled owner", own(orphan.apiKey)),
    plain("another address", own(elsewhere.apiKey)),
    plain("another method", own(other.apiKey)),
    plain("a limit of 0", own(full.apiKey)),
    asking("a scope", { scopes: ["a"] }, { "latchkey.scopes": "a" }),
    asking("a missing scope", { scopes: ["a", "b"] }, { "latchkey.scopes": "a b" }),
    asking("a tier", { tiers: ["pro"] }, { "latchkey.tiers": "pro" }),
    asking("an environment", { environment: "test" }, { "latchkey.environment": "test" }),
    asking("a cost", { cost: 4 }, { "latchkey.cost": "4" }, own(dear.apiKey)),
    asking("a cost that has no room", { cost: 4 }, { "latchkey.cost": "4" }, own(dear.apiKey)),
    asking("a cost that never fits", { cost: 6 }, { "latchkey.cost": "6" }, own(dear.apiKey)),
    asking(
      "a limit of the route",
      { limits: [{ name: "search", perMinute: 2, perDay: 10 }] },
      { "latchkey.limits.search.per_minute": "2", "latchkey.limits.search.per_day": "10" },
    ),
    asking("a scope that is none", { scopes: ["\u00e9"] }, { "latchkey.scopes": "\u00e9" }),
    person("a person", bearer(token)),
    person("no person", []),
    person("a token that is none", bearer("a.b.c")),
    person("two tokens", [...bearer("a.b.c"), ...bearer("a.b.d")]),
  ];
}
