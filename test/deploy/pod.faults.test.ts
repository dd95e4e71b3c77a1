/** A process with the environment that the chart gives a pod, in production, with nothing that it could write to. */
import { randomBytes } from "node:crypto";
import { describe, expect, it } from "vitest";
import { Health } from "../../src/gen/grpc/health/v1/health_pb.ts";
import { clientOf } from "../support/clients.ts";
import { canStart, freshPostgres, freshRedis } from "../support/shared-servers.ts";
import { bootstrapOperator, startService } from "../support/spawned-service.ts";
import { containerOf } from "./rendered.ts";

/** A folder that can't be made, for root neither. */
const UNWRITABLE = "/dev/null/data";

describe.skipIf(!canStart("postgres") || !canStart("redis"))("a pod of the chart", () => {
  it("serves, answers what its probes ask, and ends with 0 at SIGTERM", async () => {
    const env = await podEnvironment();
    // As the Job does.
    await bootstrapOperator({ ...env, LATCHKEY_MIGRATE: "true" });
    const service = await startService(env);
    expect((await fetch(`http://${service.opsAddress}/healthz`)).status).toBe(200);
    expect(await clientOf(service.address, Health).check({})).toMatchObject({ status: 1 });
    service.signal("SIGTERM");
    expect(await service.ended()).toBe(0);
    expect(service.output()).not.toMatch(/"level":(40|50)/);
  });
});

/** Ports are those that are free here; the rest is the pod's. */
async function podEnvironment(): Promise<Record<string, string>> {
  const secrets: Readonly<Record<string, string>> = {
    DATABASE_URL: await freshPostgres(),
    REDIS_URL: await freshRedis(),
    LATCHKEY_MASTER_KEYS: `1:${randomBytes(32).toString("base64")}`,
  };
  const pairs = containerOf("plaintext", "Deployment").env.map(({ name, value }) => [name, value ?? secrets[name]!]);
  const here = { LATCHKEY_LISTEN: "127.0.0.1:0", LATCHKEY_OPS_LISTEN: "127.0.0.1:0", LATCHKEY_DATA_DIR: UNWRITABLE };
  return { PATH: process.env.PATH!, ...Object.fromEntries(pairs), ...here };
}
