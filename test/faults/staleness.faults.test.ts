import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { AdminService } from "../../src/gen/latchkey/v1/admin_service_pb.ts";
import { AuthService } from "../../src/gen/latchkey/v1/auth_service_pb.ts";
import { Freshness_Source, KeyService, Verdict } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { clientOf, PASSWORD } from "../support/in-process-service.ts";
import { canStart, freshPostgres } from "../support/shared-servers.ts";
import { firstOperatorOf, type ReadyService, serviceEnvironment, startService } from "../support/spawned-service.ts";
import { letPass, until } from "../support/until.ts";

/** The promised bound of every process while the database answers. The usual time is a few milliseconds. */
const BOUND_MS = 5000;

describe.skipIf(!canStart("postgres"))("two processes on one PostgreSQL", () => {
  const processes: ReadyService[] = [];
  let admin: string;
  beforeAll(async () => {
    const settings = serviceEnvironment({ DATABASE_URL: await freshPostgres() });
    // Without the variable the two processes must agree on one master key by themselves.
    const env: NodeJS.ProcessEnv = { ...settings, LATCHKEY_MASTER_KEYS: undefined };
    // Both start at once: one applies the schema, and both end up with the same master keys.
    processes.push(...(await Promise.all([startService(env), startService(env)])));
    admin = firstOperatorOf(env);
  });
  afterAll(() => Promise.all(processes.map((process) => process.stop())));

  it("refuse a revoked key: the process of the revocation immediately, and the other one within 5 s", async () => {
    const [here, there] = processes.map(({ address }) => address) as [string, string];
    const { secret } = await clientOf(here, AdminService, admin).issueServiceCredential({
      name: "v",
      scopes: ["verify"],
    });
    const { tokens } = await clientOf(here, AuthService).register({ email: "a@example.com", password: PASSWORD });
    const keys = clientOf(here, KeyService, tokens!.accessToken);
    const { apiKey, key } = await keys.issueKey({ name: "k" });
    const [verifyHere, verifyThere] = [clientOf(here, KeyService, secret), clientOf(there, KeyService, secret)];
    const look = { apiKey, cost: 0 };
    expect((await verifyHere.verifyKey(look)).verdict).toBe(Verdict.VALID);
    expect((await verifyThere.verifyKey(look)).verdict).toBe(Verdict.VALID);
    // The control: the other process has the key in memory, so that a refusal shows that the news reached it.
    const isKept = async () => (await verifyThere.verifyKey(look)).freshness?.source === Freshness_Source.CACHE;
    await until(isKept, "the other process serves the key from memory");

    await keys.revokeKey({ keyId: key!.id });
    const revokedAt = performance.now();
    expect((await verifyHere.verifyKey(look)).verdict).toBe(Verdict.REVOKED);
    let refusedAfterMs = Number.NaN;
    while (Number.isNaN(refusedAfterMs)) {
      const askedAt = performance.now();
      const { verdict } = await verifyThere.verifyKey(look);
      if (verdict === Verdict.REVOKED) refusedAfterMs = askedAt - revokedAt;
      else if (askedAt - revokedAt > BOUND_MS) throw new Error("still accepted after the bound");
      else await letPass(20, "asks again at a steady pace");
    }
    expect(refusedAfterMs).toBeLessThan(BOUND_MS);
  });
});
