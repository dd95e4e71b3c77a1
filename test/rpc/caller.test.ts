/** The memory of credentials that each connection has, which never admits a credential that has ended. */
import { type ClientHttp2Session, connect } from "node:http2";
import { type Client, Code } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { DatabaseClock } from "../../src/changes/database-clock.ts";
import { AdminService } from "../../src/gen/latchkey/v1/admin_service_pb.ts";
import type { KeyRecord } from "../../src/keys/key-records.ts";
import { CallerResolver } from "../../src/rpc/calls/caller.ts";
import { grpcTrailers } from "../support/front-door.ts";
import { startTestService, type TestService } from "../support/in-process-service.ts";
import { StandingClock } from "../support/shifted-clock.ts";

describe("a connection that has shown a service credential", () => {
  let service: TestService;
  let admin: Client<typeof AdminService>;
  let session: ClientHttp2Session;
  beforeAll(async () => {
    service = await startTestService();
    admin = service.client(AdminService, service.admin);
    session = connect(`http://${service.address}`);
  });
  afterAll(async () => {
    session.destroy();
    await service[Symbol.asyncDispose]();
  });

  /** The gRPC status of VerifyKey, called on the one connection. */
  async function statusOf(secret: string): Promise<number> {
    const stream = session.request({
      ":method": "POST",
      ":path": "/latchkey.v1.KeyService/VerifyKey",
      "content-type": "application/grpc",
      authorization: `Bearer ${secret}`,
    });
    stream.end(Buffer.alloc(5));
    stream.resume();
    return Number((await grpcTrailers(stream))["grpc-status"]);
  }

  const issue = () => admin.issueServiceCredential({ name: "shop", scopes: ["verify"] });

  it("is refused at its next call once the credential is revoked", async () => {
    const { credential, secret } = await issue();
    expect([await statusOf(secret), await statusOf(secret)]).toEqual([0, 0]);
    await admin.revokeServiceCredential({ credentialId: credential!.id });
    expect(await statusOf(secret)).toBe(Code.Unauthenticated);
  });

  it("is refused at its next call once the secret is rotated away, and admitted with the new secret", async () => {
    const { credential, secret } = await issue();
    expect(await statusOf(secret)).toBe(0);
    const rotated = await admin.rotateServiceCredential({ credentialId: credential!.id, overlap: { seconds: 0n } });
    expect([await statusOf(secret), await statusOf(rotated.secret)]).toEqual([Code.Unauthenticated, 0]);
  });

  it("is refused when the overlap of an old secret is over", async () => {
    const { credential, secret } = await issue();
    await admin.rotateServiceCredential({ credentialId: credential!.id, overlap: { seconds: 60n } });
    expect(await statusOf(secret)).toBe(0);
    service.clock.advance(61_000);
    expect(await statusOf(secret)).toBe(Code.Unauthenticated);
  });

  it("may show a second credential, and each is judged by itself", async () => {
    const [first, second] = [await issue(), await issue()];
    expect([await statusOf(first.secret), await statusOf(second.secret)]).toEqual([0, 0]);
    await admin.revokeServiceCredential({ credentialId: first.credential!.id });
    expect([await statusOf(first.secret), await statusOf(second.secret)]).toEqual([Code.Unauthenticated, 0]);
  });
});

describe("an authorization header", () => {
  const resolver = new CallerResolver({
    looksLikeCredential: (token) => token.startsWith("kit_svc_"),
    openCredential: () => undefined,
    authenticateUser: async (token) => ({ userId: token, sessionId: "ses_1" }),
    databaseClock: new DatabaseClock(new StandingClock()),
    used: () => {},
    refused: () => {},
  });
  const resolve = async (...values: string[]) =>
    resolver.resolve({ connection: {}, peerAddress: "", header: () => values });

  it("makes its caller known, and a call without one is anonymous", async () => {
    expect(await resolve("Bearer token")).toMatchObject({ kind: "user", userId: "token" });
    expect(await resolve("bEARER   token ")).toMatchObject({ kind: "user", userId: "token" });
    expect(await resolve()).toEqual({ kind: "anonymous" });
  });

  it.each([
    ["there is more than one", ["Bearer token", "Bearer token"]],
    ["it is empty", [""]],
    ["its scheme is another", ["Basic dXNlcjpwYXNz"]],
    ["it has no scheme", ["token"]],
    ["it has no credential", ["Bearer "]],
    ["it has text after the credential", ["Bearer token, Bearer token"]],
    ["it has a character that is not ASCII", ["Bearer t\u00f6ken"]],
    ["it is too long", [`Bearer ${"x".repeat(4096)}`]],
    ["its service credential has an impossible form", ["Bearer kit_svc_x"]],
  ])("is refused, and never taken as anonymous, if %s", async (_what, values) => {
    await expect(resolve(...values)).rejects.toMatchObject({ reason: "CREDENTIAL_INVALID" });
  });
});

describe("a credential", () => {
  const record = {
    key: { id: "svc_1", state: "active", scopes: ["verify"] },
  } as unknown as KeyRecord;
  let opened: string[] = [];
  const resolver = new CallerResolver({
    looksLikeCredential: (token) => token.startsWith("kit_svc_"),
    openCredential: (token) => {
      opened.push(token);
      const loaded = { record, asOfMs: 0, position: 0n, maxStalenessMs: 5000, source: "cache" as const };
      return { fresh: () => loaded, find: async () => loaded };
    },
    authenticateUser: () => Promise.reject(new Error("asked")),
    databaseClock: new DatabaseClock(new StandingClock()),
    used: () => {},
    refused: () => {},
  });
  const call = (connection: object, token: string) =>
    resolver.resolve({ connection, peerAddress: "", header: () => [`Bearer ${token}`] });

  it("is parsed once for all calls of a connection, and once more for another connection", () => {
    opened = [];
    const [one, other] = [{}, {}];
    for (let i = 0; i < 5; i++) expect(call(one, "kit_svc_a")).toMatchObject({ credentialId: "svc_1" });
    call(other, "kit_svc_a");
    expect(opened).toEqual(["kit_svc_a", "kit_svc_a"]);
  });

  it("is parsed again after its connection has shown many others, because the memory is bounded", () => {
    opened = [];
    const connection = {};
    for (let i = 0; i < 20; i++) call(connection, `kit_svc_${i}`);
    call(connection, "kit_svc_0");
    expect(opened).toHaveLength(21);
  });
});
