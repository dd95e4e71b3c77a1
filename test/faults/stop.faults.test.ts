/** A stop while PostgreSQL is frozen: a real process, and a real server that does not answer. */

import { Code } from "@connectrpc/connect";
import pg from "pg";
import { expect, it } from "vitest";
import { AdminService } from "../../src/gen/latchkey/v1/admin_service_pb.ts";
import { KeyService } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { procStat } from "../support/child-process.ts";
import { errorOf } from "../support/errors.ts";
import { startFleet } from "../support/fleet.ts";
import { clientOf } from "../support/in-process-service.ts";
import { report } from "../support/measurements.ts";
import { startPostgres } from "../support/own-postgres.ts";
import { canStart } from "../support/shared-servers.ts";

/** Number of refusals, each of which leaves an audit event to write at the stop. */
const REFUSALS = 10;
/**
 * Maximum wait of a write for a frozen server (src/postgres/connections/orm-options.ts). Ten such waits must not add
 * up.
 */
const SILENCE_MS = 1500;
/** LATCHKEY_DRAIN_SECONDS of the test's environment. */
const DRAIN_MS = 1000;
const ROOM_MS = 7000;

it.skipIf(!canStart("postgres"))(
  "a service whose PostgreSQL is frozen stops in order within its bound, even with ten events to write",
  async () => {
    await using postgres = await startPostgres();
    await using fleet = await startFleet({ DATABASE_URL: postgres.url() });
    const { admin, service } = fleet;
    const cast = await fleet.cast();
    const operator = clientOf(service.address, AdminService, admin);
    const [key] = await cast.issue(1);
    const credentials: string[] = [];
    for (let n = 0; n < REFUSALS; n++) {
      const { credential, secret } = await operator.issueServiceCredential({ name: `c${n}`, scopes: ["verify"] });
      await operator.revokeServiceCredential({ credentialId: credential!.id });
      credentials.push(secret);
    }
    const other = new pg.Client({ connectionString: postgres.url() });
    other.on("error", () => {});
    await other.connect();
    // From here on the lock delays every audit event, so that all of them wait when the server freezes.
    await other.query("begin; lock table audit_events in access exclusive mode");
    const verify = (secret: string) => clientOf(service.address, KeyService, secret).verifyKey({ apiKey: key!.raw });
    const refused = await Promise.all(credentials.map((secret) => errorOf(verify(secret))));
    expect(refused.map(({ code }) => code)).toEqual(Array(REFUSALS).fill(Code.Unauthenticated));
    await postgres.freeze();
    try {
      expect(procStat(postgres.pid)?.state).toBe("T");
      const askedAtMs = performance.now();
      await service.stop();
      const tookMs = performance.now() - askedAtMs;
      report("a stop while PostgreSQL is frozen", [tookMs]);
      expect(await service.ended()).toBe(0);
      expect(service.output()).toContain('"msg":"stopped"');
      expect(tookMs).toBeLessThan(DRAIN_MS + ROOM_MS);
      // The control: ten waits one after the other would have taken longer.
      expect(REFUSALS * SILENCE_MS).toBeGreaterThan(DRAIN_MS + ROOM_MS);
    } finally {
      postgres.resume();
    }
    await other.end();
    const kept = "select count(*) from audit_events where kind = 'credential.refused'";
    expect(Number(await postgres.sql(kept)), "the fault happened").toBeLessThan(REFUSALS);
  },
);
