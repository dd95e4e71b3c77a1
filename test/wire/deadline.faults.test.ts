/** Deadlines while statements hang, on real PostgreSQL: behind a lock, and behind a wire that swallows everything. */
import { setTimeout as pause } from "node:timers/promises";
import pg from "pg";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { KeyService } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import type { FaultProxy } from "../support/fault-proxy.ts";
import { type Fleet, startFleet, startProxyTo } from "../support/fleet.ts";
import { type PostgresServer, startPostgres } from "../support/postgres-server.ts";
import { type Answer, answerTo, quantile, report, tally } from "../support/samples.ts";
import { canStart } from "../support/servers.ts";
import { clientOf } from "../support/service.ts";
import type { Cast, IssuedKey } from "../support/service-process.ts";

/** Promised over the deadline, and what a busy machine adds. */
const LATE_MS = 50;
const ROOM_MS = 100;
/** statement_timeout of hot reads and of management. */
const READ_MS = 120;
const STATEMENT_MS = 1000;
/** Deadlines shorter than those, so that the deadline is what ends the call. */
const READ_DEADLINE_MS = 60;
const STATEMENT_DEADLINE_MS = 300;

describe.skipIf(!canStart("postgres"))("a call whose statement hangs", () => {
  let postgres: PostgresServer;
  let proxy: FaultProxy;
  let fleet: Fleet;
  let cast: Cast;
  let database: pg.Client;
  let keys: readonly IssuedKey[];
  let spare: IssuedKey[];

  beforeAll(async () => {
    postgres = await startPostgres();
    const linked = await startProxyTo(postgres.url());
    proxy = linked.proxy;
    fleet = await startFleet({ DATABASE_URL: linked.url, LATCHKEY_KEYS_PER_OWNER: "1000" });
    cast = await fleet.cast();
    keys = await cast.issue(64);
    spare = [...(await cast.issue(3))];
    database = await connected(postgres);
    // The caller's credential is in memory from here on.
    expect(await ask(keys[0]!)).toMatchObject({ said: "VALID" });
  });
  afterAll(async () => {
    await database?.end();
    await fleet?.stop();
    await proxy?.stop();
    await postgres?.stop();
  });

  // What one test broke is whole again for the next: a key that is not in memory can be read.
  afterEach(async () => {
    const unasked = spare.pop()!;
    await expect.poll(async () => (await ask(unasked)).said, { timeout: 5000 }).toBe("VALID");
  });

  const ask = (key: IssuedKey, timeoutMs?: number) => {
    const client = clientOf(fleet.service.address, KeyService, cast.verifier);
    return answerTo(() => client.verifyKey({ apiKey: key.raw, cost: 0 }, timeoutMs === undefined ? {} : { timeoutMs }));
  };

  /** What other clients wait for while `work` runs: all of a table. */
  async function whileLocked<T>(table: string, work: () => Promise<T>): Promise<T> {
    await database.query("begin");
    await database.query(`lock table ${table} in access exclusive mode`);
    try {
      return await work();
    } finally {
      await database.query("rollback");
    }
  }

  function expectInTime(answers: readonly Answer[], deadlineMs: number): void {
    const late = answers.map(({ tookMs }) => tookMs - deadlineMs);
    report(`deadline of ${deadlineMs} ms, over it`, late);
    expect(quantile(late, 0.5)).toBeLessThan(LATE_MS);
    expect(quantile(late, 1)).toBeLessThan(LATE_MS + ROOM_MS);
  }

  it("is DEADLINE_EXCEEDED in time, and its read ends by its statement_timeout", async () => {
    const [first, ...cold] = keys.slice(1, 12);
    const seen = watchStatements(postgres);
    await whileLocked("key_secrets", async () => {
      const answers = await Promise.all(cold.map((key) => ask(key, READ_DEADLINE_MS)));
      expect(tally(answers)).toEqual({ DeadlineExceeded: cold.length });
      expectInTime(answers, READ_DEADLINE_MS);
      await pause(1000);
      // The control: without a deadline of its own a call waits for the statement's, and longer than the bound above.
      const patient = await ask(first!);
      expect(patient).toMatchObject({ said: "Unavailable" });
      expect(patient.tookMs).toBeGreaterThan(READ_DEADLINE_MS + LATE_MS);
    });
    const { waited, longestMs } = await seen.stop();
    expect(waited.get("latchkey-reads"), "statements were seen to wait for the lock").toBeGreaterThan(0);
    expect(longestMs("latchkey-reads")).toBeLessThan(READ_MS + ROOM_MS);
  });

  it("is DEADLINE_EXCEEDED in time in management as well, and none of its statements outlives the statement_timeout", async () => {
    const management = clientOf(fleet.service.address, KeyService, cast.ownerToken);
    const seen = watchStatements(postgres);
    await whileLocked("api_keys", async () => {
      const calls = Array.from({ length: 5 }, async (_, n) => {
        const askedAtMs = performance.now();
        await expect(
          management.issueKey({ name: `late ${n}` }, { timeoutMs: STATEMENT_DEADLINE_MS }),
        ).rejects.toMatchObject({ code: 4 });
        return { askedAtMs, tookMs: performance.now() - askedAtMs, said: "", response: undefined };
      });
      expectInTime(await Promise.all(calls), STATEMENT_DEADLINE_MS);
      await pause(STATEMENT_MS + 500);
    });
    const { waited, longestMs } = await seen.stop();
    expect(waited.get("latchkey"), "statements were seen to wait for the lock").toBeGreaterThan(0);
    expect(longestMs("latchkey")).toBeLessThan(STATEMENT_MS + ROOM_MS);
    // The control: the longest was one that the timeout ended, not one that went through.
    expect(longestMs("latchkey")).toBeGreaterThan(STATEMENT_DEADLINE_MS + LATE_MS);
  });

  it("leaves no connection behind with its query on it: later calls get their own answers, at once", async () => {
    const [lost, later] = [keys.slice(12, 22), keys.slice(22, 60)];
    for (const key of keys.slice(60, 63)) expect((await ask(key)).said).toBe("VALID");
    const before = await readers(postgres);
    const kept = await connected(postgres, { port: proxy.port, query_timeout: READ_DEADLINE_MS });
    proxy.hang();
    const answers = await Promise.all(lost.map((key) => ask(key, READ_DEADLINE_MS)));
    expect(tally(answers)).toEqual({ DeadlineExceeded: lost.length });
    // The control: on a connection that is kept, as node-postgres does by itself, the next query waits behind the lost
    // one, whose answer has still to come.
    await expect(kept.query("select 'lost'")).rejects.toThrow("timeout");
    const next = Promise.race([
      kept.query("select 'next'").then(
        () => "answered",
        () => "lost as well",
      ),
      pause(500, "waits"),
    ]);
    expect(await next).toBe("lost as well");
    // What is given up is given up by now; only then the answers come through.
    await proxy.restore();
    await kept.end();
    await expect.poll(async () => (await ask(later[0]!)).said, { timeout: 3000 }).toBe("VALID");
    const own = await Promise.all(later.map((key) => ask(key)));
    expect(own.map(({ response }) => response?.key?.id)).toEqual(later.map(({ id }) => id));
    report(
      "first calls after a lost wire",
      own.map(({ tookMs }) => tookMs),
    );
    // The fault happened: whoever had a query on it is gone.
    const after = await readers(postgres);
    expect(before.filter((pid) => !after.includes(pid)).length).toBeGreaterThan(0);
  });
});

async function connected(postgres: PostgresServer, more: pg.ClientConfig = {}): Promise<pg.Client> {
  const { password, username: user } = new URL(postgres.url());
  const at = { host: "127.0.0.1", port: postgres.port, user, password, database: "postgres" };
  const client = new pg.Client({ ...at, application_name: "test", ...more });
  client.on("error", () => {});
  await client.connect();
  return client;
}

/** Backends that serve hot reads. */
async function readers(postgres: PostgresServer): Promise<readonly string[]> {
  const pids = await postgres.sql("select pid from pg_stat_activity where application_name = 'latchkey-reads'");
  return pids.split("\n").filter(Boolean);
}

/** Looks again and again at what the service's statements do, and for how long. */
function watchStatements(postgres: PostgresServer) {
  const longest = new Map<string, number>();
  const waited = new Map<string, number>();
  let isStopped = false;
  const watching = (async () => {
    const client = await connected(postgres);
    while (!isStopped) {
      const { rows } = await client.query<{ name: string; ms: number; waits: boolean }>(
        `select application_name as name, wait_event_type is not distinct from 'Lock' as waits,
           (extract(epoch from clock_timestamp() - query_start) * 1000)::float8 as ms
         from pg_stat_activity where state = 'active' and application_name in ('latchkey', 'latchkey-reads')`,
      );
      for (const { name, ms, waits } of rows) {
        longest.set(name, Math.max(ms, longest.get(name) ?? 0));
        if (waits) waited.set(name, (waited.get(name) ?? 0) + 1);
      }
      await pause(10);
    }
    await client.end();
  })();
  return {
    stop: async () => {
      isStopped = true;
      await watching;
      return { waited, longestMs: (name: string) => longest.get(name) ?? 0 };
    },
  };
}
