/** An account that passes to another person by a password reset, and the keys of its former holder. */
import type { Client } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { AdminService } from "../../src/gen/latchkey/v1/admin_service_pb.ts";
import { AuthService } from "../../src/gen/latchkey/v1/auth_service_pb.ts";
import { Key_State } from "../../src/gen/latchkey/v1/key_pb.ts";
import { KeyService, Verdict } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { errorOf } from "../support/errors.ts";
import { PASSWORD, startTestService, type TestService } from "../support/in-process-service.ts";

const NEW_PASSWORD = "another one that is just as odd";

describe("a handover of an account by a reset", () => {
  let service: TestService;
  let admin: Client<typeof AdminService>;
  let anyone: Client<typeof AuthService>;
  let verifier: Client<typeof KeyService>;
  beforeAll(async () => {
    service = await startTestService();
    admin = service.client(AdminService, service.admin);
    anyone = service.client(AuthService);
    verifier = service.client(KeyService, service.admin);
  });
  afterAll(() => service?.[Symbol.asyncDispose]());

  const verdictOf = async (apiKey: string) => (await verifier.verifyKey({ apiKey, cost: 0 })).verdict;
  const complete = (resetToken: string, revokeKeys?: boolean) =>
    anyone.completePasswordReset({
      resetToken,
      newPassword: NEW_PASSWORD,
      ...(revokeKeys !== undefined && { revokeKeys }),
    });

  /** A user who registered another person's address, and their key, which every cache knows as valid. */
  async function squatter() {
    const { key, apiKey, person } = await service.newKey();
    expect(await verdictOf(apiKey)).toBe(Verdict.VALID);
    return { key: key!, apiKey, person, userId: person.user.id };
  }

  it("revokes the keys of a holder who only registered, even if the reset does not request it", async () => {
    const { key, apiKey, person, userId } = await squatter();
    const created = await admin.createPasswordReset({ userId });
    expect(created.revokesKeys).toBe(true);
    expect(await verdictOf(apiKey)).toBe(Verdict.VALID);
    const { tokens, revokedKeys } = await complete(created.resetToken);
    expect(revokedKeys).toBe(1);
    expect(await verdictOf(apiKey)).toBe(Verdict.REVOKED);
    const owner = service.client(KeyService, tokens!.accessToken);
    expect((await owner.getKey({ keyId: key.id })).key).toMatchObject({ state: Key_State.REVOKED });
    const issue = await errorOf(person.keys.issueKey({ name: "one more" }));
    expect(issue).toMatchObject({ reason: "CREDENTIAL_INVALID" });
    const { events } = await admin.listAuditEvents({ subjectId: key.id });
    const details = { reason: "password_reset", decided_by: "rule" };
    expect(events[0]).toMatchObject({ kind: "key.revoked", actorId: userId, details });
    // The new holder's own keys stay valid.
    const { apiKey: own } = await owner.issueKey({ name: "own" });
    expect(await verdictOf(own)).toBe(Verdict.VALID);
  });

  it("keeps the keys of a holder who has logged in since, unless the reset requests their revocation", async () => {
    const { apiKey, person, userId } = await squatter();
    await anyone.login({ email: person.email, password: PASSWORD });
    const forgotten = await admin.createPasswordReset({ userId });
    expect(forgotten.revokesKeys).toBe(false);
    expect((await complete(forgotten.resetToken)).revokedKeys).toBe(0);
    expect(await verdictOf(apiKey)).toBe(Verdict.VALID);
    const { resetToken } = await admin.createPasswordReset({ userId });
    expect((await complete(resetToken, true)).revokedKeys).toBe(1);
    expect(await verdictOf(apiKey)).toBe(Verdict.REVOKED);
  });

  it("revokes the keys if an operator decided so, whatever the user requests", async () => {
    const { apiKey, person, userId } = await squatter();
    await anyone.login({ email: person.email, password: PASSWORD });
    const { resetToken, revokesKeys } = await admin.createPasswordReset({ userId, revokeKeys: true });
    expect(revokesKeys).toBe(true);
    expect((await complete(resetToken, false)).revokedKeys).toBe(1);
    expect(await verdictOf(apiKey)).toBe(Verdict.REVOKED);
    const { events } = await admin.listAuditEvents({ subjectId: userId });
    const reset = events.find(({ kind }) => kind === "user.password_reset");
    expect(reset?.details).toEqual({ revoked_keys: "1", decided_by: expect.stringMatching(/^svc_/) });
  });

  it("keeps the keys if the operator or the user decided so", async () => {
    const first = await squatter();
    const kept = await admin.createPasswordReset({ userId: first.userId, revokeKeys: false });
    expect(kept.revokesKeys).toBe(false);
    expect((await complete(kept.resetToken)).revokedKeys).toBe(0);
    expect(await verdictOf(first.apiKey)).toBe(Verdict.VALID);
    const second = await squatter();
    const { resetToken } = await admin.createPasswordReset({ userId: second.userId });
    expect((await complete(resetToken, false)).revokedKeys).toBe(0);
    expect(await verdictOf(second.apiKey)).toBe(Verdict.VALID);
  });

  it("ends all other access when the token is created, if the operator decided so", async () => {
    const { apiKey, person, userId } = await squatter();
    const { resetToken } = await admin.createPasswordReset({ userId, revokeKeys: true, endAccess: true });
    const refused = [
      await errorOf(anyone.login({ email: person.email, password: PASSWORD })),
      await errorOf(anyone.refresh({ refreshToken: person.tokens.refreshToken })),
      await errorOf(person.auth.changePassword({ currentPassword: PASSWORD, newPassword: NEW_PASSWORD })),
      await errorOf(person.keys.issueKey({ name: "one more" })),
    ];
    const reasons = ["LOGIN_FAILED", "REFRESH_TOKEN_INVALID", "CREDENTIAL_INVALID", "CREDENTIAL_INVALID"];
    expect(refused.map(({ reason }) => reason)).toEqual(reasons);
    expect((await complete(resetToken)).revokedKeys).toBe(1);
    expect(await verdictOf(apiKey)).toBe(Verdict.REVOKED);
    await anyone.login({ email: person.email, password: NEW_PASSWORD });
  });
});
