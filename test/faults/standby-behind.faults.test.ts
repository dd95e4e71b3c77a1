/** Every RPC on a standby that is behind: no answer uses its rows, or the lack of rows. Real processes. */
import type { DescMethodStreaming, DescMethodUnary, DescService, MessageInitShape } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Authorization } from "../../src/gen/envoy/service/auth/v3/external_auth_pb.ts";
import { RateLimitService } from "../../src/gen/envoy/service/ratelimit/v3/rls_pb.ts";
import { AdminService } from "../../src/gen/latchkey/v1/admin_service_pb.ts";
import { AuthService } from "../../src/gen/latchkey/v1/auth_service_pb.ts";
import { KeyService } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { ACCESS } from "../../src/rpc/access.ts";
import type { FaultProxy } from "../support/fault-proxy.ts";
import { type Fleet, startFleet, startProxyTo } from "../support/fleet.ts";
import { clientOf, PASSWORD } from "../support/in-process-service.ts";
import { type PostgresServer, pauseReplay, startPostgres, startStandby } from "../support/own-postgres.ts";
import { canStart } from "../support/shared-servers.ts";

/** A person with one of everything. */
interface Subject {
  readonly email: string;
  readonly userId: string;
  readonly accessToken: string;
  /** The tokens of two sessions. */
  readonly refreshTokens: readonly [string, string];
  readonly sessionId: string;
  readonly resetToken: string;
  readonly keyId: string;
  /** A key that no call has presented yet. */
  readonly coldKey: string;
  readonly credentialId: string;
  readonly kid: string;
}

type Requests<S extends DescService> = {
  readonly [K in keyof S["method"]]: (subject: Subject) => MessageInitShape<S["method"][K]["input"]>;
};
type Request = Readonly<Record<string, unknown>>;

/** A well-formed request for each RPC, which needs the database. An RPC without a row does not compile. */
const AUTH: Requests<typeof AuthService> = {
  getCurrentUser: () => ({}),
  updateCurrentUser: () => ({ user: { displayName: "Mona" }, updateMask: { paths: ["display_name"] } }),
  listSessions: () => ({}),
  revokeSession: ({ sessionId }) => ({ sessionId }),
  changePassword: () => ({ currentPassword: PASSWORD, newPassword: `${PASSWORD} and another` }),
  register: ({ email }) => ({ email: `new-${email}`, password: PASSWORD }),
  login: ({ email }) => ({ email, password: PASSWORD }),
  refresh: ({ refreshTokens }) => ({ refreshToken: refreshTokens[0] }),
  logout: ({ refreshTokens }) => ({ refreshToken: refreshTokens[1] }),
  completePasswordReset: ({ resetToken }) => ({ resetToken, newPassword: `${PASSWORD} and a third` }),
};

const KEYS: Requests<typeof KeyService> = {
  issueKey: ({ userId }) => ({ name: "a key", ownerId: userId }),
  getKey: ({ keyId }) => ({ keyId }),
  listKeys: ({ userId }) => ({ ownerId: userId }),
  updateKey: ({ keyId }) => ({ key: { id: keyId, name: "another name" }, updateMask: { paths: ["name"] } }),
  disableKey: ({ keyId }) => ({ keyId }),
  enableKey: ({ keyId }) => ({ keyId }),
  rotateKey: ({ keyId }) => ({ keyId }),
  verifyKey: ({ coldKey }) => ({ apiKey: coldKey, cost: 0 }),
  batchVerifyKeys: ({ coldKey }) => ({ requests: [{ apiKey: coldKey, cost: 0 }] }),
  checkRateLimit: ({ keyId }) => ({ subject: { case: "keyId", value: keyId }, cost: 0 }),
  batchCheckRateLimits: ({ keyId }) => ({ requests: [{ subject: { case: "keyId", value: keyId }, cost: 0 }] }),
  watchRevocations: () => ({}),
  revokeKey: ({ keyId }) => ({ keyId }),
  deleteKey: ({ keyId }) => ({ keyId }),
};

const ADMINISTRATION: Requests<typeof AdminService> = {
  createUser: ({ email }) => ({ email: `created-${email}` }),
  listUsers: () => ({}),
  getUser: ({ userId }) => ({ userId }),
  updateUser: ({ userId }) => ({ user: { id: userId, displayName: "Mona" }, updateMask: { paths: ["display_name"] } }),
  disableUser: ({ userId }) => ({ userId }),
  enableUser: ({ userId }) => ({ userId }),
  createPasswordReset: ({ userId }) => ({ userId }),
  clearLoginFailures: ({ userId }) => ({ userId }),
  endUserSessions: ({ userId }) => ({ userId }),
  resetRateLimits: ({ keyId }) => ({ keyId }),
  issueServiceCredential: () => ({ name: "verifier", scopes: ["verify"] }),
  listServiceCredentials: () => ({}),
  updateServiceCredential: ({ credentialId }) => ({ credential: { id: credentialId, name: "renamed" } }),
  rotateServiceCredential: ({ credentialId }) => ({ credentialId }),
  revokeServiceCredential: ({ credentialId }) => ({ credentialId }),
  listSigningKeys: () => ({}),
  rotateSigningKey: () => ({}),
  revokeSigningKey: ({ kid }) => ({ keyId: kid }),
  listAuditEvents: () => ({}),
  getServerInfo: () => ({}),
};

const CHECKS: Requests<typeof Authorization> = {
  check: ({ coldKey }) => ({ attributes: { request: { http: { method: "GET", headers: { "x-api-key": coldKey } } } } }),
};

const ENVOY_LIMITS: Requests<typeof RateLimitService> = {
  shouldRateLimit: ({ keyId }) => ({ domain: "shop", descriptors: [{ entries: [{ key: "key", value: keyId }] }] }),
};

const REQUESTS: readonly (readonly [
  typeof AuthService | typeof KeyService | typeof AdminService | typeof Authorization | typeof RateLimitService,
  Readonly<Record<string, (subject: Subject) => Request>>,
])[] = [
  // The calls of users come first: the process believes their sessions for 5 s, so the calls get past the caller's
  // check.
  [AuthService, AUTH],
  [KeyService, KEYS],
  [AdminService, ADMINISTRATION],
  [Authorization, CHECKS],
  [RateLimitService, ENVOY_LIMITS],
];

/** Services that need no database, because they know nothing of people and keys. */
const WITHOUT_DATABASE = ["grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection"];

describe.skipIf(!canStart("postgres"))("on a standby that is behind", () => {
  let primary: PostgresServer;
  let standby: PostgresServer;
  let proxy: FaultProxy;
  let fleet: Fleet;
  /** A person whom the standby shows, and a person whom it does not. */
  let known: Subject;
  let unknown: Subject;
  let hotKey: string;
  let cursor: string;

  beforeAll(async () => {
    primary = await startPostgres();
    const linked = await startProxyTo(primary.url());
    proxy = linked.proxy;
    fleet = await startFleet({ DATABASE_URL: linked.url });
    known = await newSubject("known@example.com");
    hotKey = (await newSubject("hot@example.com")).coldKey;
    standby = await startStandby(primary);
    await pauseReplay(standby);
    unknown = await newSubject("unknown@example.com");
    cursor = (await firstMessage()).cursor;
    await call(KeyService.method.verifyKey, { apiKey: hotKey, cost: 0 }, fleet.admin);
    for (const { accessToken } of [known, unknown]) await call(AuthService.method.getCurrentUser, {}, accessToken);
    proxy.lead(standby.port);
  });
  afterAll(async () => {
    await fleet?.stop();
    await proxy?.stop();
    await standby?.stop();
    await primary?.stop();
  });

  async function newSubject(email: string): Promise<Subject> {
    const { address } = fleet.service;
    const people = clientOf(address, AuthService);
    const operator = clientOf(address, AdminService, fleet.admin);
    const { user, tokens } = await people.register({ email, password: PASSWORD });
    const second = await people.login({ email, password: PASSWORD });
    const { accessToken, refreshToken } = tokens!;
    const { sessions } = await clientOf(address, AuthService, accessToken).listSessions({});
    const { resetToken } = await operator.createPasswordReset({ userId: user!.id });
    const ofUser = clientOf(address, KeyService, accessToken);
    const { key, apiKey } = await ofUser.issueKey({ name: "a key" });
    const { credential } = await operator.issueServiceCredential({ name: "verifier", scopes: ["verify"] });
    const { keys } = await operator.listSigningKeys({});
    return {
      email,
      userId: user!.id,
      accessToken,
      refreshTokens: [refreshToken, second.tokens!.refreshToken],
      sessionId: sessions.find(({ current }) => !current)!.id,
      resetToken,
      keyId: key!.id,
      coldKey: apiKey,
      credentialId: credential!.id,
      kid: keys[0]!.id,
    };
  }

  async function call(method: DescMethodUnary | DescMethodStreaming, request: Request, credential?: string) {
    const transport = createGrpcTransport({ baseUrl: `http://${fleet.service.address}` });
    const headers = credential === undefined ? {} : { authorization: `Bearer ${credential}` };
    if (method.methodKind === "unary") {
      return (await transport.unary(method, undefined, 20_000, headers, request)).message;
    }
    const stopped = new AbortController();
    const asked = (async function* (): AsyncGenerator<Request> {
      yield request;
    })();
    const { message } = await transport.stream(method, stopped.signal, 20_000, headers, asked);
    for await (const first of message) {
      stopped.abort();
      return first;
    }
    throw new Error("the stream ended without a message");
  }

  async function firstMessage() {
    for await (const message of clientOf(fleet.service.address, KeyService, fleet.admin).watchRevocations({})) {
      return message;
    }
    throw new Error("the stream ended without a message");
  }

  /** Calls each RPC once, as a caller that may call it. @returns the code of each, by the RPC's name */
  async function saidOf(subject: Subject): Promise<Record<string, string>> {
    const said: Record<string, string> = {};
    for (const [service, requests] of REQUESTS) {
      for (const [name, request] of Object.entries(requests)) {
        const method = service.methods.find(({ localName }) => localName === name)!;
        const rule = ACCESS.get(service.typeName)![name]!;
        const credential = rule === "anyone" ? undefined : rule.scopes ? fleet.admin : subject.accessToken;
        said[name] = await call(method, request(subject), credential).then(
          () => "OK",
          (error) => Code[ConnectError.from(error).code]!,
        );
      }
    }
    return said;
  }

  it("the test has a request for each RPC of each service, except those that need no database", () => {
    const services = REQUESTS.map(([service]) => service);
    expect([...ACCESS.keys()].filter((name) => !name.includes("v1alpha")).sort()).toEqual(
      [...services.map(({ typeName }) => typeName), ...WITHOUT_DATABASE].sort(),
    );
    for (const [service, requests] of REQUESTS) {
      expect(Object.keys(requests).sort()).toEqual(service.methods.map(({ localName }) => localName).sort());
    }
  });

  it("every RPC is UNAVAILABLE, for a person that the standby shows and for one that it lacks", async () => {
    // The fault happened: this server answers with old data.
    const seen = `select in_recovery, string_agg(email, ',' order by email)
      from (select pg_is_in_recovery() as in_recovery) r, users group by 1`;
    expect(await standby.sql(seen)).toBe("t|hot@example.com,known@example.com");
    const [ofUnknown, ofKnown] = [await saidOf(unknown), await saidOf(known)];
    const everywhere = Object.fromEntries(Object.keys(ofKnown).map((name) => [name, "Unavailable"]));
    // A batch fails for each of its keys alone, as the next test shows. A process knows its version by itself.
    const expected = { ...everywhere, batchVerifyKeys: "OK", batchCheckRateLimits: "OK", getServerInfo: "OK" };
    expect({ unknown: ofUnknown, known: ofKnown }).toEqual({ unknown: expected, known: expected });
  });

  it("a batch answers UNAVAILABLE for each key that is not in memory, and a watch with a cursor is refused", async () => {
    const verifier = clientOf(fleet.service.address, KeyService, fleet.admin);
    const requests = [hotKey, known.coldKey, unknown.coldKey].map((apiKey) => ({ apiKey, cost: 0 }));
    const { results } = await verifier.batchVerifyKeys({ requests });
    expect(results.map(({ outcome }) => (outcome.case === "error" ? Code[outcome.value.code] : outcome.case))).toEqual([
      "response",
      "Unavailable",
      "Unavailable",
    ]);
    const coming = call(KeyService.method.watchRevocations, { cursor }, fleet.admin);
    await expect(coming).rejects.toMatchObject({ code: Code.Unavailable });
  });

  it("calls that need no database still succeed: a hot key, a malformed key, a limit by name", async () => {
    const verifier = clientOf(fleet.service.address, KeyService, fleet.admin);
    expect(await verifier.verifyKey({ apiKey: hotKey, cost: 0 })).toMatchObject({ valid: true });
    expect(await verifier.verifyKey({ apiKey: "no key", cost: 0 })).toMatchObject({ valid: false });
    const limits = [{ name: "requests", perMinute: 5 }];
    const subject = { case: "name", value: "somebody" } as const;
    expect(await verifier.checkRateLimit({ subject, limits })).toMatchObject({ allowed: true });
    const jwks = await fetch(`http://${fleet.service.address}/.well-known/jwks.json`);
    expect(jwks.status).toBe(200);
  });

  it("the same requests are answered on the primary: the control", async () => {
    proxy.lead(primary.port);
    const verifier = clientOf(fleet.service.address, KeyService, fleet.admin);
    await expect.poll(() => verifier.verifyKey({ apiKey: known.coldKey, cost: 0 }).catch(() => {})).toBeTruthy();
    const [token] = known.refreshTokens;
    expect(await call(AuthService.method.refresh, { refreshToken: token })).toHaveProperty("tokens.accessToken");
    const said = await saidOf(unknown);
    const faults = ["Unavailable", "InvalidArgument", "PermissionDenied", "Unimplemented", "Internal", "Unknown"];
    expect(Object.entries(said).filter(([, each]) => faults.includes(each))).toEqual([]);
    expect(said).toMatchObject({ logout: "OK", listSessions: "OK", getKey: "OK", listAuditEvents: "OK" });
  });
});
