/**
 * `npm run bench:growth`: a service on a database of years. It makes a data set, then measures what grows with it.
 *
 *   npm run bench:growth                                    10 M keys, 1 M users, 10 M audit events: about an hour
 *   npm run bench:growth -- --keys 100000 --users 10000 --audit-events 100000
 *   DATABASE_URL=... npm run bench:growth                   in this database, which must be empty or have the data set
 *
 * Without DATABASE_URL it starts a PostgreSQL in a temporary folder, which needs 2 GB of disk for each million of keys
 * and events. That server has fsync off, so a load is faster than on one that survives a loss of power.
 *
 *   growth/table-rows.ts  the rows of each table, as SQL
 *   growth/data-set.ts    fills the tables
 *   growth/schema.ts      applies migrations, before and after there are rows
 *   growth/progress.ts    share, rate and remaining time
 *   growth/service.ts     the service, and keys whose secrets are known
 *   growth/calls.ts       calls and their times
 *   growth/listings.ts    pages of lists
 *   growth/cold-keys.ts   VerifyKey of keys that are not in memory
 *   growth/pruning.ts     retention, and calls beside it
 *   growth/postgres-cpu.ts  CPU time of PostgreSQL for calls
 *   growth/storage.ts     bytes of tables and indexes
 *   growth/report.ts      the tables that are printed
 */
import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { cpus, loadavg } from "node:os";
import { parseArgs, promisify } from "node:util";
import pg from "pg";
import { databaseUrl } from "../src/config/database-url.ts";
import { hasPostgres, startPostgres } from "../test/support/own-postgres.ts";
import { measureColdKeys } from "./growth/cold-keys.ts";
import { type LoadStep, loadDataSet, sizeText } from "./growth/data-set.ts";
import { measureListings } from "./growth/listings.ts";
import { measurePruning } from "./growth/pruning.ts";
import { formatGrowth, type GrowthReport } from "./growth/report.ts";
import { type MigrationTime, migrateTo, migrationNames } from "./growth/schema.ts";
import { type GrownService, knownKeys, type Secrets, startGrown } from "./growth/service.ts";
import { measureStorage } from "./growth/storage.ts";
import type { DataSetSize } from "./growth/table-rows.ts";

const { values: flags } = parseArgs({
  options: {
    keys: { type: "string", default: "10000000" },
    users: { type: "string", default: "1000000" },
    "audit-events": { type: "string", default: "10000000" },
    seconds: { type: "string", default: "30" },
    calls: { type: "string", default: "300" },
    "cold-keys": { type: "string", default: "10000" },
  },
});
const size: DataSetSize = {
  keys: Number(flags.keys),
  users: Number(flags.users),
  auditEvents: Number(flags["audit-events"]),
};
/** The last migration before the load; the newer ones run on the filled tables. */
const LOADED_AT = "0010-texts-that-say-null";
/** Settings of the server that this program starts: memory for the indexes of a large table. */
const SETTINGS = {
  shared_buffers: "2GB",
  max_wal_size: "8GB",
  checkpoint_timeout: "30min",
  wal_level: "minimal",
  max_wal_senders: "0",
};
/** Name of the database for what is measured on an empty one. It is dropped at the end. */
const EMPTY = "latchkey_growth_empty";
const MANY_KEYS = 200;

const print = (line: string) => process.stderr.write(`${line}\n`);

if (process.env.DATABASE_URL === undefined && !hasPostgres()) {
  print("bench: PostgreSQL is not installed, and DATABASE_URL is not set");
  process.exitCode = 1;
} else {
  await using stack = new AsyncDisposableStack();
  const url = process.env.DATABASE_URL ?? stack.use(await startPostgres({ settings: SETTINGS })).url();
  process.stdout.write(formatGrowth(await run(url, stack)));
}

async function run(url: string, stack: AsyncDisposableStack): Promise<GrowthReport> {
  const client = new pg.Client(url);
  await client.connect();
  stack.defer(() => client.end());
  const load = await prepare(url, client);
  const newest = await migrateTo(databaseUrl(url), migrationNames().at(-1)!);
  for (const { name, seconds } of newest) print(`${name}: ${seconds.toFixed(1)} s`);
  const storage = await measureStorage(client);
  const { scratchSeconds, emptySeconds } = await measureEmpty(url, client);
  const secrets = await secretsOf(client);
  await using service = await startGrown(url, secrets);
  await client.query("update growth.secrets set admin = $1", [service.admin]);
  print(`the service started in ${service.startSeconds.toFixed(2)} s`);
  const keys = await knownKeys(client, service.ring, size.keys, Number(flags["cold-keys"]));
  print(`${keys.length} keys have known secrets; listing`);
  const listings = await measureListings(client, service, await idsOf(client), Number(flags.calls));
  print("verifying cold keys");
  const cold = await measureColdKeys(client, service, keys);
  print("counting what is under each master key");
  const masterKeysSeconds = await measureMasterKeys(service);
  print("pruning");
  const pruning = await measurePruning(url, service, keys, Number(flags.seconds));
  const start = { emptySeconds, grownSeconds: service.startSeconds };
  const report = { size: sizeText(size), machine: machineText(), load, scratchSeconds, newest, storage, start };
  return { ...report, listings, cold, masterKeysSeconds, pruning };
}

/** Makes the data set, unless the database has it. @returns the steps of the load */
async function prepare(url: string, client: pg.Client): Promise<readonly LoadStep[]> {
  const { rows } = await client.query("select to_regnamespace('growth') is not null as is_there");
  if (rows[0].is_there) return [];
  print(`making ${sizeText(size)}`);
  await migrateTo(databaseUrl(url), LOADED_AT);
  return loadDataSet(client, size, print);
}

/** The time of all migrations and of a start, on an empty database of the same server. */
async function measureEmpty(url: string, client: pg.Client) {
  await client.query(`drop database if exists ${EMPTY}`);
  await client.query(`create database ${EMPTY}`);
  const empty = new URL(url);
  empty.pathname = `/${EMPTY}`;
  const times = await migrateTo(databaseUrl(empty.href), migrationNames().at(-1)!);
  const { startSeconds: emptySeconds, ...service } = await startGrown(empty.href, {
    masterKey: randomBytes(32),
    admin: undefined,
  });
  await service[Symbol.asyncDispose]();
  await client.query(`drop database ${EMPTY} with (force)`);
  return { emptySeconds, scratchSeconds: sumOf(times) };
}

function sumOf(times: readonly MigrationTime[]): number {
  return times.reduce((sum, { seconds }) => sum + seconds, 0);
}

/** The secrets of the data set. They are kept beside it, so that another run can start a service on it. */
async function secretsOf(client: pg.Client): Promise<Secrets> {
  await client.query("create table if not exists growth.secrets (master_key bytea not null, admin text)");
  const { rows } = await client.query("select master_key, admin from growth.secrets");
  const [row] = rows;
  if (row !== undefined) return { masterKey: row.master_key, admin: row.admin ?? undefined };
  const masterKey = randomBytes(32);
  await client.query("insert into growth.secrets values ($1)", [masterKey]);
  return { masterKey, admin: undefined };
}

async function idsOf(client: pg.Client) {
  const { rows } = await client.query(
    `select array(select owner_id from (
         select owner_id from api_keys where owner_id = any (array(select growth.id('usr', n) from generate_series(0, 99) n))
         group by 1 having count(*) > $1) o) as owners,
       array(select growth.id('usr', (n * 7919) % $2) from generate_series(0, 99) n) as actors`,
    [Math.min(MANY_KEYS, size.keys / size.users), size.users],
  );
  return { owners: rows[0].owners as string[], actors: rows[0].actors as string[] };
}

async function measureMasterKeys({ env }: GrownService): Promise<number> {
  const startMs = performance.now();
  await promisify(execFile)(process.execPath, ["src/cli/master-keys.ts"], { env });
  return (performance.now() - startMs) / 1000;
}

function machineText(): string {
  const [{ model = "" } = {}, ...others] = cpus();
  return `${new Date().toISOString().slice(0, 10)}, ${others.length + 1} cores (${model}), load average ${loadavg()[0]!.toFixed(1)}`;
}
