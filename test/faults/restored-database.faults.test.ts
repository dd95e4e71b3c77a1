/** A log of changes that pg_dump brought from another history: no reader takes it for its own. Real servers. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { KeyService, type WatchRevocationsResponse } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { type Fleet, startFleet } from "../support/fleet.ts";
import { clientOf } from "../support/in-process-service.ts";
import { answerTo } from "../support/measurements.ts";
import { dumpDatabase, type PostgresServer, restoreDatabase, startPostgres } from "../support/own-postgres.ts";
import { canStart } from "../support/shared-servers.ts";
import {
  type Cast,
  type IssuedKey,
  type ReadyService,
  serviceEnvironment,
  startService,
} from "../support/spawned-service.ts";
import { until } from "../support/until.ts";

const BOUND_MS = 5300;
/** Number of polls that the test looks at. A watcher gets a message for each poll. */
const POLLS = 4;
const USE_IDS = "do $$ begin for n in 1..30000 loop perform pg_current_xact_id(); commit; end loop; end $$";
const HISTORY_LINE = "the database's history changed";

describe.skipIf(!canStart("postgres"))("a database that was restored from a dump", () => {
  let old: PostgresServer;
  let fleet: Fleet;
  let cast: Cast;
  let revoked: IssuedKey;
  let good: IssuedKey;
  /** The cursor of a client that watched the old database. */
  let oldCursor: string;

  beforeAll(async () => {
    old = await startPostgres();
    // The old cluster uses ids that a new cluster reaches only much later.
    await old.sql(USE_IDS);
    fleet = await startFleet({ DATABASE_URL: await old.createDatabase("kept") });
    cast = await fleet.cast();
    [revoked, good] = (await cast.issue(2)) as [IssuedKey, IssuedKey];
    await clientOf(fleet.service.address, KeyService, cast.admin).revokeKey({ keyId: revoked.id });
    await old.sql(
      "update change_horizon set pruned = (select min(xact_id::text::bigint) from changes)::text::xid8",
      "kept",
    );
    oldCursor = (await messages(fleet.service, 1))[0]!.cursor;
    await fleet.stop();
  });
  afterAll(() => old?.stop());

  /** The settings of the old service that an operator keeps besides its database. */
  const secrets = () => ({ LATCHKEY_MASTER_KEYS: fleet.env.LATCHKEY_MASTER_KEYS });
  const verifier = (service: ReadyService) => clientOf(service.address, KeyService, cast.verifier);
  const ask = async (service: ReadyService, key: IssuedKey) =>
    (await answerTo(() => verifier(service).verifyKey({ apiKey: key.raw, cost: 0 }))).said;

  async function messages(service: ReadyService, count: number, cursor = ""): Promise<WatchRevocationsResponse[]> {
    const abort = new AbortController();
    const got: WatchRevocationsResponse[] = [];
    for await (const message of verifier(service).watchRevocations({ cursor }, { signal: abort.signal })) {
      got.push(message);
      if (got.length === count) break;
    }
    abort.abort();
    return got;
  }

  /** Expects the same answers as before, polls without changes, and news of a new change. */
  async function expectSound(service: ReadyService): Promise<void> {
    expect(await ask(service, revoked)).toBe("REVOKED");
    expect(await ask(service, good)).toBe("VALID");
    const before = service.output().split(HISTORY_LINE).length;
    const [, ...quiet] = await messages(service, 1 + POLLS);
    expect(quiet.map(({ resync, changes }) => ({ resync, changes: changes.length }))).toEqual(
      quiet.map(() => ({ resync: false, changes: 0 })),
    );
    expect(service.output().split(HISTORY_LINE).length, "no poll finds another history").toBe(before);
    const [told] = await messages(service, 1, oldCursor);
    expect(told!.resync, "a client of the old database starts again").toBe(true);
    const [key] = await issueAt(service);
    expect(await ask(service, key!)).toBe("VALID");
    await clientOf(service.address, KeyService, cast.admin).revokeKey({ keyId: key!.id });
    const news = await messages(service, 1, told!.cursor);
    expect(news[0]).toMatchObject({
      resync: false,
      changes: expect.arrayContaining([expect.objectContaining({ subjectId: key!.id })]),
    });
  }

  async function issueAt(service: ReadyService): Promise<readonly IssuedKey[]> {
    const management = clientOf(service.address, KeyService, cast.admin);
    const { key: known } = await management.getKey({ keyId: good.id });
    const { key, apiKey } = await management.issueKey({ name: "new", ownerId: known!.ownerId });
    return [{ id: key!.id, raw: apiKey }];
  }

  describe("in another cluster", () => {
    let other: PostgresServer;
    beforeEach(async () => {
      other = await startPostgres();
      return () => other.stop();
    });

    it.each(["true", "false"])("begins a new history, with LATCHKEY_MIGRATE=%s", async (migrate) => {
      const url = await other.createDatabase("restored");
      await restoreDatabase(url, await dumpDatabase(old.url("kept")));
      // The fault happened: the log names transactions that this cluster has not begun.
      const foreign = "select count(*) > 0 from changes where xact_id >= pg_snapshot_xmax(pg_current_snapshot())";
      expect(await other.sql(foreign, "restored")).toBe("t");
      await using service = await startService({
        ...serviceEnvironment({ DATABASE_URL: url, LATCHKEY_MIGRATE: migrate }),
        ...secrets(),
      });
      expect(await other.sql(foreign, "restored")).toBe("f");
      await expectSound(service);
    });

    it("begins a new history even under a running service whose tables are replaced", async () => {
      const url = await other.createDatabase("live");
      await using service = await startService({ ...serviceEnvironment({ DATABASE_URL: url }), ...secrets() });
      await restoreDatabase(url, await dumpDatabase(old.url("kept"), "--clean", "--if-exists"));
      await expect.poll(() => ask(service, good), { timeout: BOUND_MS }).toBe("VALID");
      const foreign = "select count(*) from changes where xact_id >= pg_snapshot_xmax(pg_current_snapshot())";
      await until(async () => (await other.sql(foreign, "live")) === "0", "the log is of this history");
      await expectSound(service);
    });
  });

  it.each<[how: string, copy: () => Promise<unknown>]>([
    ["dumped", async () => restoreDatabase(await old.createDatabase("dumped"), await dumpDatabase(old.url("kept")))],
    ["copied", () => old.createDatabase("copied", "kept")],
  ])("begins a new history in the same cluster if it was %s under another name", async (name, copy) => {
    await copy();
    await using service = await startService({ ...serviceEnvironment({ DATABASE_URL: old.url(name) }), ...secrets() });
    await expectSound(service);
  });
});
