import { type Client, ConnectError, createClient } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { RetryInfoSchema } from "../../src/gen/google/rpc/error_details_pb.ts";
import { AdminService } from "../../src/gen/latchkey/v1/admin_service_pb.ts";
import { AuthService } from "../../src/gen/latchkey/v1/auth_service_pb.ts";
import { KeyService } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { DomainError } from "../../src/lib/errors.ts";
import { LocalLimiter } from "../../src/limits/local-limiter.ts";
import { ACCESS } from "../../src/rpc/access.ts";
import { ChangeRate } from "../../src/rpc/calls/change-rate.ts";
import { effectOf } from "../../src/rpc/effects.ts";
import { errorOf } from "../support/errors.ts";
import { PASSWORD, startTestService, type TestService } from "../support/in-process-service.ts";
import { recordingLog } from "../support/recording-log.ts";
import { StandingClock } from "../support/shifted-clock.ts";

const RATE = 20;
const SERVICE_RATE = 40;
const MINUTE = 60_000;

describe("changes of one caller", () => {
  let service: TestService;
  let admin: Client<typeof AdminService>;
  beforeAll(async () => {
    service = await startTestService({
      LATCHKEY_CHANGES_PER_MINUTE: `${RATE}`,
      LATCHKEY_SERVICE_CHANGES_PER_MINUTE: `${SERVICE_RATE}`,
      // No Redis, because a test cannot move its clock.
      REDIS_URL: "",
    });
    admin = service.client(AdminService, service.admin);
  });
  afterAll(() => service?.[Symbol.asyncDispose]());

  const rename = (auth: Client<typeof AuthService>, displayName: string) =>
    auth.updateCurrentUser({ user: { displayName }, updateMask: { paths: ["display_name"] } });

  /** Makes `calls` changes of a name, five at a time. Returns the reason of each refusal; undefined for a success. */
  async function flood(auth: Client<typeof AuthService>, calls: number): Promise<(string | undefined)[]> {
    const ends: (string | undefined)[] = [];
    while (ends.length < calls) {
      const some = Array.from({ length: 5 }, (_, n) => rename(auth, `name ${ends.length + n}`));
      const settled = await Promise.allSettled(some);
      for (const end of settled) {
        ends.push(end.status === "fulfilled" ? undefined : (await errorOf(Promise.reject(end.reason))).reason);
      }
    }
    return ends;
  }

  const updatesOf = async (subjectId: string) =>
    (await admin.listAuditEvents({ subjectId, pageSize: 250 })).events.filter(({ kind }) => kind === "user.updated")
      .length;

  const isRefused = { reason: "TOO_MANY_CHANGES", hasRetryInfo: true };

  it("reach at most the configured number a minute, and so do its audit events", async () => {
    const [person, other] = [await service.newPerson(), await service.newPerson()];
    const ends = await flood(person.auth, 200);
    expect(ends.filter((end) => end === undefined)).toHaveLength(RATE);
    expect(new Set(ends)).toEqual(new Set([undefined, "TOO_MANY_CHANGES"]));
    expect(await updatesOf(person.user.id)).toBe(RATE);
    // Other callers, and calls that change nothing, are not affected.
    await rename(other.auth, "another name");
    await person.auth.getCurrentUser({});
    await person.keys.listKeys({});
    service.clock.advance(MINUTE + 1000);
    expect((await flood(person.auth, 30)).filter((end) => end === undefined)).toHaveLength(RATE);
    expect(await updatesOf(person.user.id)).toBe(2 * RATE);
  });

  it("count together for all RPCs and protocols", async () => {
    const { keys, auth, tokens } = await service.newPerson();
    const ids: string[] = [];
    for (let n = 0; n < RATE / 4; n++) ids.push((await keys.issueKey({ name: `k${n}` })).key!.id);
    for (const keyId of ids) await keys.disableKey({ keyId });
    for (const keyId of ids) await keys.enableKey({ keyId });
    const transport = createConnectTransport({ baseUrl: `http://${service.address}`, httpVersion: "1.1" });
    const headers = { authorization: `Bearer ${tokens.accessToken}` };
    for (const keyId of ids) await createClient(KeyService, transport).rotateKey({ keyId }, { headers });
    const refused = [
      keys.issueKey({ name: "one more" }),
      keys.updateKey({ key: { id: ids[0]!, name: "n" }, updateMask: { paths: ["name"] } }),
      keys.revokeKey({ keyId: ids[0]! }),
      keys.deleteKey({ keyId: ids[0]! }),
      auth.changePassword({ currentPassword: PASSWORD, newPassword: `${PASSWORD} again` }),
      auth.revokeSession({ sessionId: "ses_AAAAAAAAAAAAAAAA" }),
      createClient(AuthService, transport).updateCurrentUser({}, { headers }),
    ];
    for (const end of await Promise.all(refused.map(errorOf))) expect(end).toMatchObject(isRefused);
  });

  it("are refused with a time, after which a change succeeds", async () => {
    const { auth } = await service.newPerson();
    await flood(auth, RATE + 5);
    const refused = await rename(auth, "too soon").catch(ConnectError.from);
    const [info] = (refused as ConnectError).findDetails(RetryInfoSchema);
    const waitMs = Number(info!.retryDelay!.seconds) * 1000 + info!.retryDelay!.nanos / 1e6;
    expect(waitMs).toBeGreaterThan(0);
    expect(waitMs).toBeLessThanOrEqual(MINUTE + 1000);
    service.clock.advance(waitMs);
    await rename(auth, "in time");
  });

  it("of one session leave the user's other sessions their rate, so a stolen token cannot keep the owner out", async () => {
    const person = await service.newPerson();
    await flood(person.auth, RATE + 10);
    const { tokens } = await service.client(AuthService).login({ email: person.email, password: PASSWORD });
    const owner = service.client(AuthService, tokens!.accessToken);
    const [session] = (await owner.listSessions({})).sessions.filter(({ current }) => !current);
    await owner.revokeSession({ sessionId: session!.id });
    await owner.changePassword({ currentPassword: PASSWORD, newPassword: `${PASSWORD} again` });
    expect(await errorOf(rename(person.auth, "n"))).toMatchObject({ reason: "CREDENTIAL_INVALID" });
  });

  it("of a service credential have a rate of their own", async () => {
    const manager = service.client(KeyService, await service.newCredential("manage"));
    const { user } = await service.newPerson();
    const { key } = await manager.issueKey({ name: "k", ownerId: user.id });
    for (let n = 1; n < SERVICE_RATE; n++) await manager.updateKey({ key: { id: key!.id, name: `n${n}` } });
    expect(await errorOf(manager.disableKey({ keyId: key!.id }))).toMatchObject(isRefused);
    await manager.getKey({ keyId: key!.id });
    const other = service.client(KeyService, await service.newCredential("manage"));
    await other.disableKey({ keyId: key!.id });
  });

  it("include refreshes of one session, which the holder of one token could otherwise repeat without end", async () => {
    const { tokens } = await service.newPerson();
    const anyone = service.client(AuthService);
    let { refreshToken } = tokens;
    for (let n = 0; n < RATE; n++) refreshToken = (await anyone.refresh({ refreshToken })).tokens!.refreshToken;
    expect(await errorOf(anyone.refresh({ refreshToken }))).toMatchObject(isRefused);
    // The token stays valid.
    service.clock.advance(MINUTE + 1000);
    await anyone.refresh({ refreshToken });
  });
});

describe("a rate of changes", () => {
  const user = (userId: string, sessionId: string) => ({ kind: "user", userId, sessionId }) as const;

  it("holds in any minute, whenever that minute begins", async () => {
    const clock = new StandingClock();
    const limiter = new LocalLimiter({ clock, log: recordingLog() });
    const rate = new ChangeRate({ limiter, changesPerMinute: RATE, serviceChangesPerMinute: 10 * RATE });
    const madeAtMs: number[] = [];
    for (let step = 0; step < 2000; step++) {
      clock.advance(137);
      try {
        await rate.admit(user("usr_1", "ses_1"));
        madeAtMs.push(clock.monotonicMs());
      } catch (error) {
        expect(error).toBeInstanceOf(DomainError);
      }
    }
    const most = madeAtMs.map((fromMs) => madeAtMs.filter((atMs) => atMs >= fromMs && atMs < fromMs + MINUTE).length);
    expect(Math.max(...most)).toBe(RATE);
    expect(madeAtMs.length).toBeGreaterThan(3 * RATE);
  });

  it("is twice as high for all sessions of a user together, and separate for each user", async () => {
    const limiter = new LocalLimiter({ clock: new StandingClock(), log: recordingLog() });
    const rate = new ChangeRate({ limiter, changesPerMinute: RATE, serviceChangesPerMinute: RATE });
    const made = async (userId: string, sessions: number) => {
      let count = 0;
      for (let n = 0; n < 200; n++) {
        try {
          await rate.admit(user(userId, `ses_${n % sessions}`));
          count++;
        } catch {}
      }
      return count;
    };
    expect(await made("usr_1", 1)).toBe(RATE);
    expect(await made("usr_2", 10)).toBe(2 * RATE);
    expect(await made("usr_1", 10)).toBe(RATE);
  });
});

describe("the table of effects", () => {
  it("has a row for each method of the access table, and `proves` for the methods of anonymous callers only", () => {
    const services = [AuthService, KeyService, AdminService];
    for (const method of services.flatMap(({ methods }) => methods)) {
      const rule = ACCESS.get(method.parent.typeName)![method.localName];
      expect(effectOf(method) === "proves", method.name).toBe(rule === "anyone");
    }
  });
});
