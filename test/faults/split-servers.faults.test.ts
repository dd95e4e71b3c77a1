/** A failover without fencing: the old primary still answers on open connections. Real servers, real processes. */
import { describe, expect, it } from "vitest";
import { Freshness_Source, KeyService } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { type Fleet, startFleet, startProxyTo } from "../support/fleet.ts";
import { clientOf } from "../support/in-process-service.ts";
import { answerTo } from "../support/measurements.ts";
import { type PostgresServer, startPostgres, startStandby } from "../support/own-postgres.ts";
import { canStart } from "../support/shared-servers.ts";
import { type Cast, type IssuedKey, type ReadyService, startService } from "../support/spawned-service.ts";
import { until } from "../support/until.ts";

/** The feed's connection lives for 5 s. After it come a new connection and a poll, on a busy machine. */
const FOLLOWS_WITHIN_MS = 8000;
const FEED = "application_name = 'latchkey-changes'";

describe.skipIf(!canStart("postgres"))("a process that was connected to an abandoned primary", () => {
  it.each([
    ["only its feed follows the new primary", FEED],
    ["only its feed stays on the old one", `application_name like 'latchkey%' and not ${FEED}`],
    ["all its connections stay", "false"],
  ])("uses no answer of the old one if %s", async (_what, cut) => {
    await using old = await startPostgres();
    const { proxy, url } = await startProxyTo(old.url());
    await using _ = proxy;
    await using fleet = await startFleet({ DATABASE_URL: url });
    const cast = await fleet.cast();
    const [hot, cold, mine, warm] = (await cast.issue(4)) as [IssuedKey, IssuedKey, IssuedKey, IssuedKey];
    const ask = (service: ReadyService, key: IssuedKey) =>
      answerTo(() => clientOf(service.address, KeyService, cast.verifier).verifyKey({ apiKey: key.raw, cost: 0 }));
    await until(
      async () => (await ask(fleet.service, hot)).response?.freshness?.source === Freshness_Source.CACHE,
      "the process has the key in memory",
    );
    // The pools connect on demand.
    await ask(fleet.service, warm);

    await using promoted = await promoteStandbyOf(old);
    await using elsewhere = await startService({ ...fleet.env, ...FREE, DATABASE_URL: promoted.url() });
    const elsewhereKeys = clientOf(elsewhere.address, KeyService, cast.admin);
    for (const key of [hot, cold]) await elsewhereKeys.revokeKey({ keyId: key.id });
    const { key: known } = await elsewhereKeys.getKey({ keyId: hot.id });
    const fresh = await elsewhereKeys.issueKey({ name: "new", ownerId: known!.ownerId });
    // The fault happened: the old primary accepts writes, has the key as active, and has all the connections.
    expect(await old.sql(`select state, pg_is_in_recovery() from api_keys where id = '${cold.id}'`)).toBe("active|f");
    const connected =
      "select count(distinct application_name) from pg_stat_activity where application_name like 'latchkey%'";
    expect(await old.sql(connected)).toBe("3");
    proxy.leadNew(promoted.port);
    await old.sql(`select pg_terminate_backend(pid) from pg_stat_activity where ${cut}`);

    await expect
      .poll(async () => (await ask(fleet.service, hot)).said, { timeout: FOLLOWS_WITHIN_MS, interval: 20 })
      .toBe("REVOKED");
    // From here on the process uses nothing from the old primary. It answers UNAVAILABLE or from the new one.
    const settled = async (key: IssuedKey) => {
      let said = "Unavailable";
      await until(async () => {
        ({ said } = await ask(fleet.service, key));
        return said !== "Unavailable";
      }, "the process answers");
      return said;
    };
    expect(await settled(cold)).toBe("REVOKED");
    expect(await settled({ id: fresh.key!.id, raw: fresh.apiKey })).toBe("VALID");
    await revokeAt(fleet, cast, mine);
    expect(await promoted.sql(`select state from api_keys where id = '${mine.id}'`), "what was acknowledged").toBe(
      "revoked",
    );
    expect((await ask(elsewhere, warm)).said, "the control: the new primary knows what the old one did").toBe("VALID");
  });
});

const FREE = { LATCHKEY_LISTEN: "127.0.0.1:0", LATCHKEY_OPS_LISTEN: "127.0.0.1:0" };

async function promoteStandbyOf(primary: PostgresServer): Promise<PostgresServer> {
  const standby = await startStandby(primary);
  const lsn = await primary.sql("select pg_current_wal_lsn()");
  const hasAll = async () => (await standby.sql(`select pg_last_wal_replay_lsn() >= '${lsn}'`)) === "t";
  await until(hasAll, "the standby has all that was written");
  await standby.sql("select pg_promote()");
  return standby;
}

/** Revokes a key, and repeats the call until it is acknowledged. */
async function revokeAt(fleet: Fleet, cast: Cast, key: IssuedKey): Promise<void> {
  const keys = clientOf(fleet.service.address, KeyService, cast.admin);
  const isDone = () =>
    keys.revokeKey({ keyId: key.id }).then(
      () => true,
      () => false,
    );
  await until(isDone, "the revocation is acknowledged");
}
