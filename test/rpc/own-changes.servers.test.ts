/** The effect of a process's own changes on its caches: before the caller has the answer, and without the feed. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { AdminService } from "../../src/gen/latchkey/v1/admin_service_pb.ts";
import { Freshness_Source, KeyService, Verdict } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { startTestService, type TestService } from "../support/in-process-service.ts";
import { canStart, freshPostgres } from "../support/shared-servers.ts";

describe.skipIf(!canStart("postgres"))("a process whose polls do not finish", () => {
  let service: TestService;
  let other: TestService;
  let folder: string;
  let holder: pg.Client;
  beforeAll(async () => {
    const url = await freshPostgres();
    folder = await mkdtemp(join(tmpdir(), "latchkey-data-"));
    const settings = { DATABASE_URL: url, LATCHKEY_DATA_DIR: folder };
    service = await startTestService(settings);
    other = await startTestService(settings);
    holder = new pg.Client({ connectionString: url });
    await holder.connect();
  });
  afterAll(async () => {
    await holder?.end();
    await other?.[Symbol.asyncDispose]();
    await service?.[Symbol.asyncDispose]();
    await rm(folder, { recursive: true, force: true });
  });
  // Only polls read this table.
  const holdPolls = async () => {
    await holder.query("begin");
    await holder.query("lock table change_horizon in access exclusive mode");
  };
  // Proves the fault: a poll has waited for the table since.
  const letPollsGo = async () => {
    const waiting =
      "select count(*)::int as n from pg_locks where relation = 'change_horizon'::regclass and not granted";
    await expect.poll(async () => (await holder.query(waiting)).rows[0].n).toBeGreaterThan(0);
    await holder.query("rollback");
  };

  it("refuses a key from the first call after it acknowledged the change", async () => {
    const verifier = service.client(KeyService, await service.newCredential("verify"));
    const { apiKey, key, person } = await service.newKey();
    const ask = () => verifier.verifyKey({ apiKey, cost: 0 });
    const isKept = async () => (await ask()).freshness?.source === Freshness_Source.CACHE;
    await expect.poll(isKept).toBe(true);
    await holdPolls();
    await person.keys.disableKey({ keyId: key!.id });
    expect(await ask()).toMatchObject({ verdict: Verdict.DISABLED });
    await person.keys.enableKey({ keyId: key!.id });
    expect(await ask()).toMatchObject({ verdict: Verdict.VALID });
    await service.client(AdminService, service.admin).disableUser({ userId: person.user.id });
    expect(await ask()).toMatchObject({ verdict: Verdict.OWNER_DISABLED });
    await letPollsGo();
  });

  it("knows a change of another process after it has acknowledged the change as already done", async () => {
    const verifier = service.client(KeyService, await service.newCredential("verify"));
    const { apiKey, key, person } = await service.newKey();
    const manager = await service.newCredential("manage");
    const keyId = key!.id;
    const userId = person.user.id;
    const doers = [other, service].map((one) => ({
      keys: one.client(KeyService, manager),
      users: one.client(AdminService, service.admin),
    }));
    const ask = () => verifier.verifyKey({ apiKey, cost: 0 });
    const isKept = async () => (await ask()).freshness?.source === Freshness_Source.CACHE;
    type Doer = (typeof doers)[number];
    const steps: readonly (readonly [is: Verdict, change: (doer: Doer) => Promise<unknown>])[] = [
      [Verdict.DISABLED, ({ keys }) => keys.disableKey({ keyId })],
      [Verdict.VALID, ({ keys }) => keys.enableKey({ keyId })],
      [Verdict.OWNER_DISABLED, ({ users }) => users.disableUser({ userId })],
      [Verdict.VALID, ({ users }) => users.enableUser({ userId })],
      [Verdict.REVOKED, ({ keys }) => keys.revokeKey({ keyId })],
    ];
    await expect.poll(isKept).toBe(true);
    await holdPolls();
    for (const [is, change] of steps) {
      for (const doer of doers) await change(doer);
      expect((await ask()).verdict).toBe(is);
      expect(await isKept()).toBe(true);
    }
    await letPollsGo();
  });
});
