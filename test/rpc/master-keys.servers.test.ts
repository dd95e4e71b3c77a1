import { randomBytes } from "node:crypto";
import { Code } from "@connectrpc/connect";
import { afterEach, describe, expect, it } from "vitest";
import { AuthService } from "../../src/gen/latchkey/v1/auth_service_pb.ts";
import { KeyService, Verdict } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { errorOf } from "../support/errors.ts";
import { PASSWORD, startTestService, type TestService } from "../support/in-process-service.ts";

const newBytes = () => randomBytes(32).toString("base64");

const MISSING = "LATCHKEY_MASTER_KEYS lacks a version that stored data needs";

describe("a master key", { timeout: 60_000 }, () => {
  let service: TestService;
  const [one, two] = [`1:${newBytes()}`, `2:${newBytes()}`];
  const ring = (...versions: string[]) => ({ LATCHKEY_MASTER_KEYS: versions.join() });
  afterEach(() => service?.[Symbol.asyncDispose]());

  const verify = (credential: string, apiKey: string) =>
    service.client(KeyService, credential).verifyKey({ apiKey, cost: 0 });
  const errors = () => service.lines.filter(({ level }) => level === "error");
  const missing = () => service.lines.filter(({ level, message }) => level === "warn" && message === MISSING);

  it("can be removed after another one was appended and then put first, and secrets used since then stay valid", async () => {
    service = await startTestService(ring(one));
    const { apiKey, person } = await service.newKey();
    const verifier = await service.newCredential("verify");
    expect((await verify(verifier, apiKey)).verdict).toBe(Verdict.VALID);

    // Each restart is a process without any record in memory.
    await service.restart(ring(one, two));
    expect((await verify(verifier, apiKey)).verdict).toBe(Verdict.VALID);
    expect(service.lines.filter(({ message }) => message.startsWith("moved secrets"))).toEqual([]);
    await service.restart(ring(two, one));
    for (let n = 0; n < 3; n++) expect((await verify(verifier, apiKey)).verdict).toBe(Verdict.VALID);
    await service.client(AuthService).login({ email: person.email, password: PASSWORD });
    await service.restart(ring(two));
    expect((await verify(verifier, apiKey)).verdict).toBe(Verdict.VALID);
    const { tokens } = await service.client(AuthService).login({ email: person.email, password: PASSWORD });
    await service.client(AuthService, tokens!.accessToken).getCurrentUser({});
    // This token is signed by a key that was sealed under the removed master key.
    await service.client(AuthService, person.tokens.accessToken).getCurrentUser({});
    expect(service.lines).toContainEqual({
      level: "info",
      message: "moved secrets to the current master key",
      fields: { secrets: 2, version: 2 },
    });
    expect(errors()).toEqual([]);
    // The log reports what does not move: the operator's unused credential, and refresh tokens with their version.
    expect(missing()).toEqual([
      expect.objectContaining({
        level: "warn",
        fields: expect.objectContaining({ version: 1, service_credential_secrets: 1, sessions: 1 }),
      }),
    ]);
    const refreshed = service.client(AuthService).refresh({ refreshToken: person.tokens.refreshToken });
    expect(await errorOf(refreshed)).toMatchObject({ code: Code.Unavailable, reason: "MASTER_KEY_MISSING" });
  });

  it("that is missing makes its keys UNAVAILABLE and logs an alarm, never INVALID, until it is back", async () => {
    service = await startTestService(ring(one));
    const { apiKey, person } = await service.newKey();
    const revoked = await person.keys.issueKey({ name: "revoked" });
    await person.keys.revokeKey({ keyId: revoked.key!.id });
    await service.restart(ring(two, one));
    const verifier = await service.newCredential("verify");
    expect((await verify(verifier, revoked.apiKey)).verdict).toBe(Verdict.REVOKED);
    await service.restart(ring(two));
    expect(missing()).toMatchObject([{ fields: { version: 1, api_key_secrets: 1, password_hashes: 1, sessions: 1 } }]);
    expect(errors()).toEqual([]);
    expect(await errorOf(verify(verifier, apiKey))).toMatchObject({
      code: Code.Unavailable,
      reason: "MASTER_KEY_MISSING",
    });
    const fields = { version: 1, needed_by: "a key's secret" };
    expect(errors()).toContainEqual({ level: "error", message: MISSING, fields });
    const login = service.client(AuthService).login({ email: person.email, password: PASSWORD });
    expect(await errorOf(login)).toMatchObject({ code: Code.Unavailable });
    await service.restart(ring(two, one));
    expect((await verify(verifier, apiKey)).verdict).toBe(Verdict.VALID);
    expect(missing()).toHaveLength(1);
  });

  it("that is missing makes ended keys INVALID, and logs no alarm for them", async () => {
    service = await startTestService(ring(one));
    const { apiKey, key, person } = await service.newKey();
    const rotated = await person.keys.issueKey({ name: "rotated" });
    await person.keys.revokeKey({ keyId: key!.id });
    await service.restart(ring(two, one));
    const verifier = await service.newCredential("verify");
    const owner = service.client(KeyService, person.tokens.accessToken);
    const next = await owner.rotateKey({ keyId: rotated.key!.id, overlap: { seconds: 0n } });
    await service.restart(ring(two));
    for (const ended of [apiKey, rotated.apiKey]) {
      expect((await verify(verifier, ended)).verdict).toBe(Verdict.INVALID);
    }
    expect((await verify(verifier, next.apiKey)).verdict).toBe(Verdict.VALID);
    expect(errors()).toEqual([]);
  });

  it("with other bytes under a known version stops the start, which names the version and stores nothing", async () => {
    service = await startTestService(ring(one));
    const wrong = `1:${newBytes()}`;
    await expect(service.restart(ring(`3:${newBytes()}`, wrong))).rejects.toThrow(/version 1 has other bytes/);
    // The control: this other version 3 would be refused if the failed start had stored its own.
    await service.restart(ring(`3:${newBytes()}`, one));
  });
});
