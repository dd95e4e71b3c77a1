/**
 * Defaults of a role or a database that change what statements answer or do. The service answers as without them, or
 * refuses its start with one line.
 */

import { Code, ConnectError } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { AdminService } from "../../src/gen/latchkey/v1/admin_service_pb.ts";
import { AuthService } from "../../src/gen/latchkey/v1/auth_service_pb.ts";
import { KeyService } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { PASSWORD, startTestService, type TestService } from "../support/in-process-service.ts";
import { createDatabase, type PostgresServer, sql, startPostgres } from "../support/own-postgres.ts";
import { canStart } from "../support/shared-servers.ts";

const ROLE = "latchkey_service";

/** Settings whose value here is the server's own, or that psql sets for itself. */
const USUAL = ["row_security", "escape_string_warning", "client_encoding"];

/** Each setting with its value, and the text of the refusal if the start is refused. */
const SETTINGS: readonly (readonly [name: string, value: string, refusal?: RegExp])[] = [
  ["DateStyle", "'German, DMY'"],
  ["IntervalStyle", "'sql_standard'"],
  ["TimeZone", "'Asia/Kathmandu'"],
  ["timezone_abbreviations", "'India'"],
  ["extra_float_digits", "-15"],
  ["bytea_output", "'escape'"],
  ["standard_conforming_strings", "off"],
  ["client_encoding", "'LATIN1'"],
  ["client_min_messages", "'debug5'"],
  ["lc_messages", "'C.UTF-8'"],
  ["default_transaction_read_only", "on"],
  ["default_transaction_isolation", "'serializable'"],
  ["default_transaction_deferrable", "on"],
  ["statement_timeout", "'400ms'"],
  ["lock_timeout", "'1ms'"],
  ["idle_in_transaction_session_timeout", "'1ms'"],
  ["idle_session_timeout", "'90s'"],
  ["idle_session_timeout", "'2s'", /idle_session_timeout is 2000 ms/],
  ["row_security", "on"],
  ["quote_all_identifiers", "on"],
  ["xmloption", "'document'"],
  ["xmlbinary", "'hex'"],
  ["array_nulls", "off"],
  ["transform_null_equals", "on"],
  ["backslash_quote", "off"],
  ["escape_string_warning", "on"],
  ["exit_on_error", "on"],
  ["synchronous_commit", "off"],
  ["session_replication_role", "'replica'", /session_replication_role is replica/],
  ["session_replication_role", "'local'"],
  ["plan_cache_mode", "'force_generic_plan'"],
  ["enable_seqscan", "off"],
  ["enable_indexscan", "off"],
  ["jit_above_cost", "0"],
  ["force_parallel_mode", "'regress'"],
  ["from_collapse_limit", "1"],
  ["work_mem", "'64kB'"],
  ["search_path", "public, pg_catalog"],
  ["search_path", "elsewhere, public", /tables are in public; set search_path in DATABASE_URL/],
  ["search_path", "nowhere", /none of the schemas in search_path \(nowhere\) exists/],
];

describe.skipIf(!canStart("postgres")).each(["database", "role"])("a default of the %s", (level) => {
  let postgres: PostgresServer;
  let test: TestService;
  let expected: unknown;
  let prepared: Prepared;

  beforeAll(async () => {
    postgres = await startPostgres();
    await postgres.sql(`create role ${ROLE} login password 'secret'`);
    const made = new URL(await postgres.createDatabase("deployed"));
    await postgres.sql(
      `grant create on schema public to ${ROLE}; create schema elsewhere; grant all on schema elsewhere to ${ROLE}`,
      "deployed",
    );
    [made.username, made.password] = [ROLE, "secret"];
    test = await startTestService({ DATABASE_URL: made.href });
    prepared = await prepare(test);
    expected = await scenario(test, prepared);
    // The control: two runs without a changed default give the same answers.
    await test.restart();
    expect(await scenario(test, prepared)).toEqual(expected);
  });
  afterAll(async () => {
    await test?.[Symbol.asyncDispose]();
    await postgres?.stop();
  });

  const target = level === "database" ? "database deployed" : `role ${ROLE}`;

  const named = SETTINGS.map(([name, value, refusal]) => ({ name, value, refusal }));
  it.each(named)(
    "that sets $name = $value changes no answer, or makes the start fail with one line",
    async ({ name, value, refusal }) => {
      await postgres.sql(`alter ${target} set ${name} = ${value}`);
      try {
        const url = `postgres://${ROLE}:secret@127.0.0.1:${postgres.port}/deployed`;
        const shown = await sql(url, `show ${name}`);
        if (!USUAL.includes(name)) expect(shown, "the fault happened").not.toBe(await postgres.sql(`show ${name}`));
        const restarted = test.restart();
        if (refusal !== undefined) {
          await expect(restarted).rejects.toThrow(refusal);
          return;
        }
        await restarted;
        expect(await scenario(test, prepared)).toEqual(expected);
      } finally {
        await postgres.sql(`alter ${target} reset all`);
      }
    },
  );
});

describe.skipIf(!canStart("postgres"))("a database", () => {
  it("is refused if its encoding is not UTF8", async () => {
    await using postgres = await startPostgres();
    await postgres.sql("create database latin encoding 'LATIN1' locale 'C' template template0");
    const started = startTestService({ DATABASE_URL: postgres.url("latin") });
    await expect(started).rejects.toThrow("the database has the encoding LATIN1; create one with the encoding UTF8");
  });

  it("with its tables in a schema of the role and an older list of migrations in public is still served", async () => {
    await using postgres = await startPostgres();
    await postgres.sql(`create role ${ROLE} login password 'secret'`);
    const url = new URL(await createDatabase(postgres.url(), "deployed"));
    await postgres.sql(`create schema own authorization ${ROLE}; grant create on schema public to ${ROLE}`, "deployed");
    await postgres.sql(`alter role ${ROLE} set search_path = own`);
    [url.username, url.password] = [ROLE, "secret"];
    await using test = await startTestService({ DATABASE_URL: url.href });
    const prepared = await prepare(test);
    const expected = await scenario(test, prepared);
    const homes = "select string_agg(distinct schemaname, ',') from pg_tables where tableowner = current_user";
    expect(await sql(url.href, homes)).toBe("own");
    // Earlier versions left the list there.
    await sql(url.href, "alter table own.mikro_orm_migrations set schema public");
    await test.restart();
    expect(await scenario(test, prepared)).toEqual(expected);
    // With another search_path the service would use a new, empty schema, in which every key is INVALID.
    await postgres.sql(`alter role ${ROLE} set search_path = public`);
    await expect(test.restart()).rejects.toThrow(
      "search_path leads to the schema public, but the service's tables are in own",
    );
    await test.restart({ DATABASE_URL: `${url.href}?options=-c%20search_path=own` });
    expect(await scenario(test, prepared)).toEqual(expected);
  });

  it("that hides rows by a policy makes calls and starts fail with its cause, and calls no key bad", async () => {
    await using postgres = await startPostgres();
    await postgres.sql(`create role ${ROLE} login password 'secret'`);
    const url = new URL(await createDatabase(postgres.url(), "deployed"));
    await postgres.sql(`grant create on schema public to ${ROLE}`, "deployed");
    [url.username, url.password] = [ROLE, "secret"];
    await using test = await startTestService({ DATABASE_URL: url.href });
    const { keys, verifier } = await prepare(test);
    const client = test.client(KeyService, verifier);
    const policy = "alter table api_keys enable row level security; alter table api_keys force row level security";
    await postgres.sql(policy, "deployed");
    // The control: the role sees no key at all.
    expect(await sql(url.href, "select count(*) from api_keys")).toBe("0");
    const failed = await client.verifyKey({ apiKey: keys[0]!, cost: 0 }).catch(ConnectError.from);
    expect(failed).toMatchObject({ code: Code.Unavailable });
    expect(test.lines.filter(({ fields }) => fields.code === "42501")).toMatchObject([
      { level: "error", fields: { meaning: expect.stringMatching(/lacks a privilege, or row security hides rows/) } },
    ]);
    await expect(test.restart()).rejects.toThrow("DATABASE_URL: 42501 insufficient_privilege");
  });
});

/** The data that exist before a scenario. */
interface Prepared {
  readonly verifier: string;
  readonly email: string;
  readonly ownerId: string;
  readonly keys: readonly string[];
}

async function prepare(test: TestService): Promise<Prepared> {
  const verifier = await test.newCredential("verify");
  const person = await test.newPerson();
  const keys: string[] = [];
  const texts = ["plain", 'it\'s a \\ "back" $1 ?', "é 😀 \n"];
  for (const description of texts) {
    const { apiKey } = await person.keys.issueKey({
      name: "prepared",
      description,
      metadata: { note: description, null: "NULL" },
      scopes: ["orders:read", "a,b"],
      allowedIps: ["192.0.2.0/24"],
      expireTime: { seconds: 1_830_000_000n, nanos: 123_000_000 },
    });
    keys.push(apiKey);
  }
  const revoked = await person.keys.issueKey({ name: "revoked" });
  await person.keys.revokeKey({ keyId: revoked.key!.id, reason: "it's over \\" });
  keys.push(revoked.apiKey);
  return { verifier, email: person.email, ownerId: person.user.id, keys };
}

/** The answers to all kinds of reads and writes, without the parts that differ from run to run. */
async function scenario(test: TestService, { verifier, email, ownerId, keys }: Prepared): Promise<unknown> {
  const admin = test.client(AdminService, test.admin);
  const verify = test.client(KeyService, verifier);
  const management = test.client(KeyService, test.admin);
  const asked = [];
  for (const apiKey of keys) {
    asked.push(await verify.verifyKey({ apiKey, cost: 0, clientIp: "192.0.2.7", requiredScopes: ["a,b"] }));
    asked.push(await verify.verifyKey({ apiKey, cost: 0, clientIp: "192.0.3.7" }));
  }
  const reads = [
    asked,
    await management.listKeys({ ownerId, showEnded: true, pageSize: 2 }),
    await admin.getUser({ userId: ownerId }),
    await admin.listUsers({ email }),
    await admin.listSigningKeys({}),
    await admin.listAuditEvents({ subjectId: ownerId, pageSize: 2, endTime: { seconds: 1_900_000_000n } }),
    await admin.listServiceCredentials({}),
  ];
  return plain([reads, await writes(test, email)]);
}

/** Makes writes and undoes each, so that the next scenario finds the same data. */
async function writes(test: TestService, email: string): Promise<unknown> {
  const auth = test.client(AuthService);
  const wrong = await auth.refresh({ refreshToken: "kit_ref_nothing" }).catch(ConnectError.from);
  const { tokens } = await auth.login({ email, password: PASSWORD });
  const refreshed = await auth.refresh({ refreshToken: tokens!.refreshToken });
  const keys = test.client(KeyService, refreshed.tokens!.accessToken);
  const requestId = crypto.randomUUID();
  const { key, apiKey } = await keys.issueKey({ name: "made", requestId });
  const again = await keys.issueKey({ name: "made", requestId }).catch(ConnectError.from);
  const verifier = test.client(KeyService, test.admin);
  const valid = await verifier.verifyKey({ apiKey, cost: 0 });
  const { key: revoked } = await keys.revokeKey({ keyId: key!.id });
  const after = await verifier.verifyKey({ apiKey, cost: 0 });
  const ageMs = Date.now() - Number(revoked!.revokeTime!.seconds) * 1000;
  await keys.deleteKey({ keyId: key!.id });
  await auth.logout({ refreshToken: refreshed.tokens!.refreshToken });
  const codes = [wrong, again].map((error) => (error as ConnectError).code);
  return { codes, verdicts: [valid.verdict, after.verdict], isNow: Math.abs(ageMs) < 60_000 };
}

/** Fields that depend on the moment, not on stored data. */
const OF_THE_MOMENT = [
  "freshness",
  "lastUseTime",
  "retryAfter",
  "nextPageToken",
  "rateLimits",
  "nearRules",
  "totalSize",
];

function plain(value: unknown): unknown {
  return JSON.parse(
    JSON.stringify(value, (name, inner: unknown) => {
      if (OF_THE_MOMENT.includes(name)) return undefined;
      return typeof inner === "bigint" ? `${inner}` : inner;
    }),
  );
}
