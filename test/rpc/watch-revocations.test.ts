import { durationMs } from "@bufbuild/protobuf/wkt";
import { type Client, Code } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { AdminService } from "../../src/gen/latchkey/v1/admin_service_pb.ts";
import { Change_Kind } from "../../src/gen/latchkey/v1/change_pb.ts";
import { KeyService, Verdict, type WatchRevocationsResponse } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { errorOf } from "../support/errors.ts";
import { startTestService, type TestService } from "../support/in-process-service.ts";

describe("WatchRevocations", () => {
  let service: TestService;
  let verifier: Client<typeof KeyService>;
  beforeAll(async () => {
    service = await startTestService();
    verifier = service.client(KeyService, await service.newCredential("verify"));
  });
  afterAll(() => service?.[Symbol.asyncDispose]());

  /** Opens a watch, collects messages until `isEnough`, and closes the watch. */
  async function collect(
    cursor: string,
    isEnough: (seen: readonly WatchRevocationsResponse[]) => boolean,
    onFirst: () => Promise<unknown> = async () => {},
  ): Promise<WatchRevocationsResponse[]> {
    const controller = new AbortController();
    const seen: WatchRevocationsResponse[] = [];
    for await (const message of verifier.watchRevocations({ cursor }, { signal: controller.signal })) {
      seen.push(message);
      if (seen.length === 1) await onFirst();
      if (isEnough(seen)) break;
    }
    controller.abort();
    return seen;
  }
  const subjects = (seen: readonly WatchRevocationsResponse[]) =>
    seen.flatMap(({ changes }) => changes.map(({ kind, subjectId }) => [kind, subjectId]));
  const mentions = (id: string) => (seen: readonly WatchRevocationsResponse[]) =>
    subjects(seen).some(([, subjectId]) => subjectId === id);

  it("reports changes of keys and owners as they happen", async () => {
    const { key, person } = await service.newKey();
    const admin = service.client(AdminService, service.admin);
    const seen = await collect("", mentions(person.user.id), async () => {
      await person.keys.revokeKey({ keyId: key!.id });
      await admin.disableUser({ userId: person.user.id });
    });
    expect(subjects(seen)).toContainEqual([Change_Kind.KEY, key!.id]);
    expect(subjects(seen)).toContainEqual([Change_Kind.OWNER, person.user.id]);
    for (const { changes, position } of seen)
      for (const change of changes) expect(change.position).toBeLessThanOrEqual(position);
  });

  it("reports a reset of a key's limits as a change of the key", async () => {
    const { key } = await service.newKey();
    const admin = service.client(AdminService, service.admin);
    const [before] = await collect("", () => true);
    await admin.resetRateLimits({ keyId: key!.id });
    expect(subjects(await collect(before!.cursor, mentions(key!.id)))).toContainEqual([Change_Kind.KEY, key!.id]);
  });

  it("tells position, epoch and age of each message, which compare with those of answers", async () => {
    const { key, apiKey, person } = await service.newKey();
    const first = (await verifier.verifyKey({ apiKey })).freshness!;
    const seen = await collect("", mentions(key!.id), () => person.keys.revokeKey({ keyId: key!.id }));
    const { freshness, verdict } = await verifier.verifyKey({ apiKey });
    expect(verdict).toBe(Verdict.REVOKED);
    expect(new Set([first.epoch, freshness!.epoch, ...seen.map(({ epoch }) => epoch)]).size).toBe(1);
    expect(first.epoch).not.toBe(0n);
    expect(seen[0]!.position).toBeGreaterThanOrEqual(first.position);
    const [change] = seen.flatMap(({ changes }) => changes.filter(({ subjectId }) => subjectId === key!.id));
    expect(change!.position).toBeGreaterThan(first.position);
    expect(freshness!.position).toBeGreaterThanOrEqual(change!.position);
    for (const { asOfElapsed, serveTime, asOfTime } of seen) {
      expect(Number(serveTime!.seconds)).toBeGreaterThanOrEqual(Number(asOfTime!.seconds));
      expect(durationMs(asOfElapsed!)).toBeLessThan(60_000);
    }
    const elapsed = seen.map(({ asOfElapsed }) => durationMs(asOfElapsed!));
    expect([...elapsed].sort((a, b) => a - b)).toEqual(elapsed);
  });

  it("resumes from a cursor without losing changes made meanwhile", async () => {
    const [first] = await collect("", () => true);
    const made: string[] = [];
    for (let n = 0; n < 5; n++) made.push((await service.newKey()).key!.id);
    const seen = await collect(first!.cursor, (all) => made.every((id) => mentions(id)(all)));
    expect(seen.every(({ resync }) => !resync)).toBe(true);
    expect(subjects(seen).map(([, id]) => id)).toEqual(expect.arrayContaining(made));
  });

  it("sends heartbeats with increasing times while nothing changes", async () => {
    const seen = await collect("", (all) => all.length >= 3);
    const times = seen.map(({ asOfTime }) => Number(asOfTime!.seconds) * 1000 + asOfTime!.nanos / 1e6);
    expect([...times].sort((a, b) => a - b)).toEqual(times);
    expect(times[2]!).toBeGreaterThan(times[0]!);
  });

  it("begins with the recently ended sessions, because their access tokens may still be valid", async () => {
    const person = await service.newPerson();
    const { sessions } = await person.auth.listSessions({});
    await person.auth.logout({ refreshToken: person.tokens.refreshToken });
    const [first] = await collect("", () => true);
    expect(subjects([first!])).toContainEqual([Change_Kind.SESSION, sessions[0]!.id]);
  });

  it.each([
    ["another history", "v3:1:1:00000000-0000-4000-8000-000000000001:5:5:"],
    ["an older release", "v1:1:1:5:5:"],
    ["the release before", "v2:7412345678901234567:1:1764345678123456:700:705:701,703"],
    ["a newer release", "v4:1:1:1:5:5:"],
  ])("requests a resync from a client with a cursor of %s", async (_what, text) => {
    const foreign = Buffer.from(text).toString("base64url");
    const [first] = await collect(foreign, () => true);
    expect(first).toMatchObject({ resync: true });
    expect(first?.cursor).not.toBe("");
  });

  it.each([
    "nonsense",
    "v3:1:1:00000000-0000-4000-8000-000000000001:9:5:",
    "v3:1:1:00000000-0000-4000-8000-000000000001:5:9:4",
    "v3:1:1:00000000-0000-4000-8000-000000000001:5:9:7,6",
    "v3:1:1:00000000-0000-4000-8000-000000000001:0:0:",
    "v3:1:1:00000000-0000-4000-8000-000000000001:5:99999999999999999999:",
    "v3:1:1:1:5:5:",
    "v2",
    "v2:nonsense",
    "v99999:1:1:1:5:5:",
  ])("refuses the cursor %s", async (text) => {
    const cursor = text === "nonsense" ? text : Buffer.from(text).toString("base64url");
    const watch = verifier.watchRevocations({ cursor })[Symbol.asyncIterator]();
    expect(await errorOf(watch.next())).toMatchObject({ code: Code.InvalidArgument, fields: ["cursor"] });
  });

  it("ends a watch whose credential was revoked", async () => {
    const admin = service.client(AdminService, service.admin);
    const { credential, secret } = await admin.issueServiceCredential({ name: "w", scopes: ["verify"] });
    const watch = service.client(KeyService, secret).watchRevocations({})[Symbol.asyncIterator]();
    await watch.next();
    await admin.revokeServiceCredential({ credentialId: credential!.id });
    const drained = (async () => {
      for (;;) await watch.next();
    })();
    expect(await errorOf(drained)).toMatchObject({ code: Code.Unauthenticated });
  });
});
