/**
 * No statement of the service takes longer because a table grew. A PostgreSQL explains each statement that it runs
 * while a tour makes every RPC and the work in the background. Its tables have tens of thousands of rows. So a
 * statement without an index shows: by a scan of a whole table, or by the number of rows that a node of its plan read.
 */
import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { AdminService } from "../../src/gen/latchkey/v1/admin_service_pb.ts";
import { AuthService } from "../../src/gen/latchkey/v1/auth_service_pb.ts";
import { KeyService } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { PageTokens } from "../../src/rpc/handlers/page-token.ts";
import { type CalledFunctions, countCalls } from "../support/called-functions.ts";
import { type Explained, explained, explainFromNowOn, nodesOf, rowsRead } from "../support/explained-postgres.ts";
import { startTestService, type TestService } from "../support/in-process-service.ts";
import { canStart } from "../support/shared-servers.ts";
import { someRing, workInBackground } from "./background-work.ts";
import { type GrownDatabase, grownDatabase, MOST_KEYS, ROWS } from "./grown-database.ts";
import { makeTour } from "./tour.ts";

/** Tables that grow with people, keys, calls or attacks. */
const GROWING = Object.keys(ROWS);

/** Tables that don't grow, and why. */
const BOUNDED: Readonly<Record<string, string>> = {
  signing_keys: "one row for each rotation, and a rotation erases what ended 30 days before",
  change_horizon: "one row, by a check",
  change_incarnation: "one row, under a lock on change_horizon",
  master_key_checks: "one row for each version of the master key",
  audit_exports: "one row for each destination",
  mikro_orm_migrations: "one row for each migration",
};

/** Rows that one node of a plan may read from a table that grows: those of the owner with the most keys, and a few. */
const MOST_ROWS = MOST_KEYS + 100;

/** Statements that read more, by a part of their text: how many rows, and why. */
const READ_MORE: readonly (readonly [part: RegExp, rows: number, why: string])[] = [
  [/from audit_outbox where destination/, 20_000, "the queue of an export is in one order with that of the other one"],
  [
    /count\(\*\) from \(select from api_keys/,
    12_000,
    "the total of a list counts up to 10,000 keys, besides ended ones",
  ],
  [/offset \d+::int limit 1/, 50_000, "what an attacker fills is cut at MAX_LOGIN_ROWS: an index is read up to there"],
  [
    /^delete from \w+ where ctid = any/,
    10_000,
    "a pruning deletes up to 2,000 rows, found among at most five times as many",
  ],
  [/^with old as .* from changes/s, 10_000, "the same"],
  [/from changes where xact_id/, 10_001, "a poll reads up to 10,000 changes"],
];

/** Functions that the tour can't call, and why. */
const UNCALLED: Readonly<Record<string, string>> = {
  "postgres/stores/change-store.ts: #onSignal": "a signal arrives or not; it has no statement",
  "postgres/stores/session-store.ts: span": "the text of an interval, which V8 may have inlined before it counts",
};

/** The faults of statements, each sort once. */
function faultsOf(statements: readonly Explained[]): readonly string[] {
  const faults = statements.flatMap(({ statement, plan }) => {
    const most = READ_MORE.find(([part]) => part.test(statement))?.[1] ?? MOST_ROWS;
    return nodesOf(plan).flatMap((node) => {
      const table = node["Relation Name"] ?? "";
      const read = rowsRead(node);
      const isScan = node["Node Type"] === "Seq Scan";
      if (!GROWING.includes(table) || (!isScan && read <= most)) return [];
      return [`${node["Node Type"]} of ${table}, ${isScan ? "" : `${read} rows, `}by: ${withoutValues(statement)}`];
    });
  });
  return [...new Set(faults)];
}

function withoutValues(statement: string): string {
  return statement.replace(/'[^']*'/g, "'...'").replace(/\d+/g, "N");
}

describe.skipIf(!canStart("postgres"))("with many rows in every table that grows", () => {
  const masterKey = randomBytes(32);
  let grown: GrownDatabase;
  let calls: CalledFunctions;
  let service: TestService;
  let visited: ReadonlySet<string>;
  let statements: readonly Explained[];

  beforeAll(async () => {
    calls = await countCalls();
    grown = await grownDatabase();
    await explainFromNowOn(grown.postgres, grown.name);
    service = await startTestService({
      DATABASE_URL: grown.url,
      LATCHKEY_MASTER_KEYS: `1:${masterKey.toString("base64")}`,
    });
    const credentialId = `svc_${service.admin.split("_")[2]!.slice(0, 16)}`;
    await grown.fillRequestsOf(credentialId);
    const tokens = new PageTokens(someRing(masterKey));
    const caller = { kind: "service", credentialId, credentialName: "", scopes: [] } as const;
    const deepToken = (method: string, filter: readonly (string | boolean)[]) =>
      tokens.seal({ method, caller, filter }, { createdAtMs: grown.middleMs, id: "usr_0000000000000000" });
    visited = await makeTour(service, { ...grown, deepToken });
    await workInBackground(grown.url, grown.keyIds);
    statements = explained(grown.postgres);
  });
  afterAll(async () => {
    await service?.[Symbol.asyncDispose]();
    await calls?.[Symbol.asyncDispose]();
    await grown?.postgres.stop();
  });

  it("every table is known either to grow or not to", async () => {
    const tables = await grown.postgres.sql("select tablename from pg_tables where schemaname = 'public'", grown.name);
    expect(tables.split("\n").sort()).toEqual([...GROWING, ...Object.keys(BOUNDED)].sort());
    for (const table of GROWING) {
      expect(Number(await grown.postgres.sql(`select count(*) from ${table}`, grown.name)), table).toBeGreaterThan(
        9000,
      );
    }
  });

  it("the tour makes every RPC and calls every function that has statements", async () => {
    const services = [AuthService, KeyService, AdminService];
    const all = services.flatMap(({ name, methods }) => methods.map(({ localName }) => `${name}.${localName}`));
    expect([...visited].sort()).toEqual(all.sort());
    const idle = await Promise.all(
      ["stores/", "rows/", "start/tiers"].map((room) => calls.neverCalled(`postgres/${room}`)),
    );
    expect(idle.flat().filter((name) => !(name in UNCALLED))).toEqual([]);
  });

  it("no statement scans a table that grows, or reads more rows than a bound", () => {
    expect(statements.length).toBeGreaterThan(500);
    expect(faultsOf(statements)).toEqual([]);
    for (const [part] of READ_MORE)
      expect(
        statements.some(({ statement }) => part.test(statement)),
        `${part}`,
      ).toBe(true);
  });

  it("a list counts up to 10,000 of its keys", async () => {
    const keys = service.client(KeyService, service.admin);
    expect((await keys.listKeys({})).totalSize).toBe(10_001);
    const { ownerId } = grown;
    const count = await grown.postgres.sql(
      `select count(*) from api_keys where owner_id = '${ownerId}' and deleted_at is null`,
      grown.name,
    );
    expect((await keys.listKeys({ ownerId, showEnded: true })).totalSize).toBe(Number(count));
  });

  it.each([
    ["users_by_time", "users", () => service.client(AdminService, service.admin).listUsers({})],
    ["audit_events_by_time", "audit_events", () => service.client(AdminService, service.admin).listAuditEvents({})],
    [
      "api_keys_by_owner",
      "api_keys",
      () => service.client(KeyService, service.admin).listKeys({ ownerId: grown.ownerId }),
    ],
  ])("control: without the index %s a fault is found", async (index, table, call) => {
    const before = explained(grown.postgres).length;
    await grown.postgres.sql(`drop index ${index}`, grown.name);
    await call();
    const faults = faultsOf(explained(grown.postgres).slice(before));
    expect(faults.filter((fault) => fault.includes(` of ${table},`))).not.toEqual([]);
  });
});
