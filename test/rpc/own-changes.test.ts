/** A process knows what it changed itself, before its caller has the answer and without the feed. */
import pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { AdminService } from "../../src/gen/latchkey/v1/admin_service_pb.ts";
import { Freshness_Source, KeyService, Verdict } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { canStart, freshPostgres } from "../support/servers.ts";
import { startTestService, type TestService } from "../support/service.ts";

describe.skipIf(!canStart("postgres"))("while no poll comes to its end", () => {
  let service: TestService;
  let holder: pg.Client;
  beforeAll(async () => {
    const url = await freshPostgres();
    service = await startTestService({ DATABASE_URL: url });
    holder = new pg.Client({ connectionString: url });
    await holder.connect();
  });
  afterAll(async () => {
    await holder?.end();
    await service?.[Symbol.asyncDispose]();
  });

  it("a key is refused by the first call after its revocation was acknowledged", async () => {
    const verifier = service.client(KeyService, await service.newCredential("verify"));
    const { apiKey, key, person } = await service.newKey();
    const ask = () => verifier.verifyKey({ apiKey, cost: 0 });
    const isKept = async () => (await ask()).freshness?.source === Freshness_Source.CACHE;
    await expect.poll(isKept).toBe(true);
    // Each poll reads this table, and nothing else does.
    await holder.query("begin");
    await holder.query("lock table change_horizon in access exclusive mode");
    await person.keys.disableKey({ keyId: key!.id });
    expect(await ask()).toMatchObject({ verdict: Verdict.DISABLED });
    await person.keys.enableKey({ keyId: key!.id });
    expect(await ask()).toMatchObject({ verdict: Verdict.VALID });
    await service.client(AdminService, service.admin).disableUser({ userId: person.user.id });
    expect(await ask()).toMatchObject({ verdict: Verdict.OWNER_DISABLED });
    // The fault happened: no poll has come to its end since.
    const waiting =
      "select count(*)::int as n from pg_locks where relation = 'change_horizon'::regclass and not granted";
    await expect.poll(async () => (await holder.query(waiting)).rows[0].n).toBeGreaterThan(0);
    await holder.query("rollback");
  });
});
