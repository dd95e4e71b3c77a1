/** The memory of credentials that each connection has, which never admits a credential that has ended. */

import assert from "node:assert/strict";
import { type ClientHttp2Session, connect } from "node:http2";
import { type Client, Code } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { newSigningKey, unsealSigningKey } from "../../src/auth/signing/signing-key.ts";
import { signAccessToken, VerifiedTokens } from "../../src/auth/tokens/access-token.ts";
import { DatabaseClock } from "../../src/changes/database-clock.ts";
import { AdminService } from "../../src/gen/latchkey/v1/admin_service_pb.ts";
import { SERVICE_ENVIRONMENT } from "../../src/keys/key-form.ts";
import type { KeyRecord, KeyRecords } from "../../src/keys/key-records.ts";
import { newSecret } from "../../src/keys/key-secret.ts";
import { newId } from "../../src/lib/id.ts";
import { CallerResolver } from "../../src/rpc/calls/caller.ts";
import { format, ring } from "../simulation/sample-keys.ts";
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

/** A resolver that finds service credentials with `records`, and an access token that it accepts. */
async function setUp(records: Pick<KeyRecords, "lookup">) {
  const databaseClock = new DatabaseClock(new StandingClock());
  const nowMs = databaseClock.nowMs();
  const key = await unsealSigningKey(ring, await newSigningKey(ring, "EdDSA"));
  assert(typeof key !== "string");
  const signingKeys = { signer: async () => key, verifier: async () => key };
  const [userId, sessionId, expiresAtMs] = ["usr_1", newId("ses"), nowMs + 60_000];
  const standing = { id: sessionId, userId, userState: "active", expiresAtMs, endedAtMs: undefined } as const;
  const sessionCache = { standing: async () => standing };
  const verifiedTokens = new VerifiedTokens();
  const names = { issuer: "http://issuer", audience: "latchkey" };
  const accessTokens = { signingKeys, sessionCache, databaseClock, verifiedTokens, ...names };
  const claims = { userId, sessionId, tokenId: `${sessionId}.1`, issuedAtMs: nowMs, expiresAtMs };
  const resolver = new CallerResolver({
    records,
    format,
    accessTokens,
    databaseClock,
    usage: { used: () => {} },
    refusals: { note: () => {} },
    addresses: { of: () => "" },
    clientCertificates: { of: () => undefined },
    certificates: { lookup: () => assert.fail("no client certificate is shown") },
  });
  return { resolver, token: await signAccessToken(accessTokens, claims) };
}

describe("an authorization header", () => {
  let [resolver, token] = [undefined as unknown as CallerResolver, ""];
  beforeAll(async () => {
    const none = { lookup: () => assert.fail("no service credential is presented") };
    ({ resolver, token } = await setUp(none));
  });
  const resolve = async (...values: string[]) =>
    resolver.resolve({
      connection: {},
      peerAddress: "",
      header: () => values.map((value) => value.replaceAll("token", token)),
    });

  it("makes its caller known, and a call without one is anonymous", async () => {
    expect(await resolve("Bearer token")).toMatchObject({ kind: "user", userId: "usr_1" });
    expect(await resolve("bEARER   token ")).toMatchObject({ kind: "user", userId: "usr_1" });
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

describe("a service credential", () => {
  const record = {
    key: { id: "svc_1", state: "active", scopes: ["verify"] },
  } as unknown as KeyRecord;
  const secrets = Array.from({ length: 20 }, () => newSecret(ring, format, SERVICE_ENVIRONMENT).rawKey);
  let opened: string[] = [];
  let resolver: CallerResolver;
  beforeAll(async () => {
    const lookup = (rawKey: string) => {
      opened.push(rawKey);
      const loaded = { record, asOfMs: 0, position: 0n, epoch: 7n, maxStalenessMs: 5000, source: "cache" as const };
      return { fresh: () => loaded, find: async () => loaded };
    };
    ({ resolver } = await setUp({ lookup }));
  });
  const call = (connection: object, token: string) =>
    resolver.resolve({ connection, peerAddress: "", header: () => [`Bearer ${token}`] });

  it("is parsed once for all calls of a connection, and once more for another connection", () => {
    opened = [];
    const [one, other, secret] = [{}, {}, secrets[0]!];
    for (let i = 0; i < 5; i++) expect(call(one, secret)).toMatchObject({ credentialId: "svc_1" });
    call(other, secret);
    expect(opened).toEqual([secret, secret]);
  });

  it("is parsed again after its connection has shown many others, because the memory is bounded", () => {
    opened = [];
    const connection = {};
    for (const secret of secrets) call(connection, secret);
    call(connection, secrets[0]!);
    expect(opened).toHaveLength(21);
  });
});
