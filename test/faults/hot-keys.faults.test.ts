/** The cost of many keys in memory to PostgreSQL while nothing changes. The test counts it in PostgreSQL's own log. */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { masterKeys } from "../../src/config/values.ts";
import { KeyService } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { type NewSecret, newSecret } from "../../src/keys/key-secret.ts";
import { KeyRing } from "../../src/lib/key-ring.ts";
import { type Fleet, startFleet } from "../support/fleet.ts";
import { clientOf } from "../support/in-process-service.ts";
import { type PostgresServer, startPostgres } from "../support/own-postgres.ts";
import { canStart } from "../support/shared-servers.ts";
import type { Cast } from "../support/spawned-service.ts";
import { letPass } from "../support/until.ts";

const KEYS = 30_000;
const BATCH = 256;
const ROWS = 5000;
const FORMAT = { prefix: "kit", environments: ["live"] };

describe.skipIf(!canStart("postgres"))(`${KEYS} hot keys`, { timeout: 120_000 }, () => {
  let postgres: PostgresServer;
  let fleet: Fleet;
  let cast: Cast;
  let keys: readonly NewSecret[];

  beforeAll(async () => {
    postgres = await startPostgres();
    fleet = await startFleet({ DATABASE_URL: postgres.url(), LATCHKEY_CACHED_KEYS: `${2 * KEYS}` });
    cast = await fleet.cast();
    const ring = new KeyRing(masterKeys(fleet.env.LATCHKEY_MASTER_KEYS!));
    keys = Array.from({ length: KEYS }, () => newSecret(ring, FORMAT, "live"));
    await insert(keys);
    // PostgreSQL logs each statement on a line that begins with the application name.
    await postgres.sql("alter system set log_line_prefix = '%a|'");
    await postgres.sql("alter system set log_statement = 'all'");
    await postgres.sql("select pg_reload_conf()");
  }, 120_000);
  afterAll(async () => {
    await fleet?.stop();
    await postgres?.stop();
  });

  /** Inserts the keys as IssueKey does, without a call for each. */
  async function insert(all: readonly NewSecret[]): Promise<void> {
    const client = new pg.Client({ connectionString: postgres.url() });
    await client.connect();
    try {
      const [issued] = await cast.issue(1);
      for (let from = 0; from < all.length; from += ROWS) {
        const some = all.slice(from, from + ROWS);
        await client.query(
          `insert into api_keys select (jsonb_populate_record(k, jsonb_build_object('id', new.id))).*
           from api_keys k, unnest($2::text[]) as new(id) where k.id = $1`,
          [issued!.id, some.map(({ keyId }) => keyId)],
        );
        await client.query(
          `insert into key_secrets (digest, key_id, pepper_version, created_at)
           select new.digest, new.id, 1, now() from unnest($1::bytea[], $2::text[]) as new(digest, id)`,
          [some.map(({ secret }) => secret.digest), some.map(({ keyId }) => keyId)],
        );
      }
    } finally {
      await client.end();
    }
  }

  /** Verifies all keys. Returns the number of valid ones. */
  async function verifyAll(): Promise<number> {
    const client = clientOf(fleet.service.address, KeyService, cast.verifier);
    let valid = 0;
    for (let from = 0; from < keys.length; from += BATCH) {
      const requests = keys.slice(from, from + BATCH).map(({ rawKey }) => ({ apiKey: rawKey }));
      const { results } = await client.batchVerifyKeys({ requests });
      valid += results.filter(({ outcome }) => outcome.case === "response" && outcome.value.valid).length;
    }
    return valid;
  }

  /** Statements of the service so far, by the connection's name, without `begin` and `commit`. */
  async function statements(): Promise<Record<string, number>> {
    const folder = await postgres.sql("show data_directory");
    const log = readFileSync(join(folder, "..", "postgres.log"), "utf8");
    const counts: Record<string, number> = {};
    for (const line of log.split("\n")) {
      const name = /^(latchkey[\w-]*)\|LOG: {2}(?:execute [^:]*|statement): (?!begin|commit)/i.exec(line)?.[1];
      if (name !== undefined) counts[name] = (counts[name] ?? 0) + 1;
    }
    return counts;
  }

  it("cost PostgreSQL only the polls while nothing changes", async () => {
    const empty = await statements();
    expect(await verifyAll()).toBe(KEYS);
    // The control: the first time each batch is a read. The fault would look the same.
    const cold = await statements();
    expect(reads(cold) - reads(empty)).toBeGreaterThanOrEqual(Math.floor(KEYS / BATCH));
    // The service writes the time of last use within 5 s, and then not for a minute.
    await expect.poll(lastUses, { timeout: 20_000, interval: 500 }).toBeGreaterThanOrEqual(KEYS);
    const before = await statements();
    const startedMs = performance.now();
    expect(await verifyAll()).toBe(KEYS);
    await letPass(
      Math.max(0, 5500 - (performance.now() - startedMs)),
      "copies get older than they may be without the feed",
    );
    expect(await verifyAll()).toBe(KEYS);
    const seconds = (performance.now() - startedMs) / 1000;
    const after = await statements();
    const { "latchkey-changes": polls = 0, ...others } = difference(before, after);
    expect(others).toEqual({});
    expect(polls).toBeGreaterThanOrEqual(Math.floor(seconds) - 2);
    // Every 5 s the feed takes a new connection, which asks for its session, listens, and polls (ADR 25).
    const connections = Math.ceil(seconds / 5);
    expect(polls).toBeLessThanOrEqual(Math.ceil(seconds) + 2 + 3 * connections);
    process.stderr.write(
      `      ${2 * KEYS} verifications in ${seconds.toFixed(1)} s: ${polls} polls, no other statement\n`,
    );
  });

  const reads = (counts: Record<string, number>) => counts["latchkey-reads"] ?? 0;
  const lastUses = async () =>
    Number(await postgres.sql("select count(*) from api_keys where kind = 'api' and last_used_at is not null"));
});

function difference(before: Record<string, number>, after: Record<string, number>): Record<string, number> {
  const rest = Object.entries(after).map(([name, count]) => [name, count - (before[name] ?? 0)] as const);
  return Object.fromEntries(rest.filter(([, count]) => count > 0));
}
