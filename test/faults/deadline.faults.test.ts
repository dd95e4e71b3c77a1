/** Deadlines while statements hang on a real PostgreSQL: behind a lock, and on a connection that drops every byte. */

import { setTimeout as pause } from "node:timers/promises";
import { type CallOptions, type Client, Code, ConnectError, createClient } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport } from "@connectrpc/connect-node";
import pg from "pg";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { AuthService } from "../../src/gen/latchkey/v1/auth_service_pb.ts";
import { KeyService } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import type { FaultProxy } from "../support/fault-proxy.ts";
import { type Fleet, startFleet, startProxyTo } from "../support/fleet.ts";
import { clientOf, PASSWORD } from "../support/in-process-service.ts";
import { type Answer, answerTo, quantile, report, tally } from "../support/measurements.ts";
import { type PostgresServer, startPostgres } from "../support/own-postgres.ts";
import { canStart } from "../support/shared-servers.ts";
import type { Cast, IssuedKey } from "../support/spawned-service.ts";
import { letPass } from "../support/until.ts";

/** The promised delay after a deadline, and room for a busy machine. */
const LATE_MS = 50;
const ROOM_MS = 100;
/** statement_timeout of hot reads and of management. */
const READ_MS = 120;
const STATEMENT_MS = 1000;
/** Shorter than the statement timeouts, so that the deadline ends the call. */
const READ_DEADLINE_MS = 60;
const STATEMENT_DEADLINE_MS = 300;

describe.skipIf(!canStart("postgres"))("a call whose statement hangs", () => {
  let postgres: PostgresServer;
  let proxy: FaultProxy;
  let fleet: Fleet;
  let cast: Cast;
  let database: pg.Client;
  let keys: readonly IssuedKey[];

  beforeAll(async () => {
    postgres = await startPostgres();
    const linked = await startProxyTo(postgres.url());
    proxy = linked.proxy;
    fleet = await startFleet({ DATABASE_URL: linked.url, LATCHKEY_KEYS_PER_OWNER: "1000" });
    cast = await fleet.cast();
    keys = await cast.issue(12);
    database = await connected(postgres);
    // From here on the process has the caller's credential in memory.
    expect(await ask(keys[0]!)).toMatchObject({ said: "VALID" });
  });
  afterAll(async () => {
    await database?.end();
    await fleet?.stop();
    await proxy?.stop();
    await postgres?.stop();
  });

  // The next test begins when the service can read a key that is not in memory again.
  afterEach(async () => {
    const readUnasked = async () => {
      const [unasked] = await cast.issue(1);
      return (await ask(unasked!)).said;
    };
    await expect.poll(readUnasked, { timeout: 5000 }).toBe("VALID");
  });

  const ask = (key: IssuedKey, timeoutMs?: number) => {
    const client = clientOf(fleet.service.address, KeyService, cast.verifier);
    return answerTo(() => client.verifyKey({ apiKey: key.raw, cost: 0 }, timeoutMs === undefined ? {} : { timeoutMs }));
  };

  /** Locks a whole table while `work` runs, so that other clients wait. */
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

  it("ends as DEADLINE_EXCEEDED in time, and its read ends by its statement_timeout", async () => {
    const [first, ...cold] = keys.slice(1, 12);
    const seen = watchStatements(postgres);
    await whileLocked("key_secrets", async () => {
      const answers = await Promise.all(cold.map((key) => ask(key, READ_DEADLINE_MS)));
      expect(tally(answers)).toEqual({ DeadlineExceeded: cold.length });
      expectInTime(answers, READ_DEADLINE_MS);
      await letPass(1000, "a statement that outlives its call would end by now");
      // The control: a call without a deadline waits for the statement_timeout, which is longer than the bound above.
      const patient = await ask(first!);
      expect(patient).toMatchObject({ said: "Unavailable" });
      expect(patient.tookMs).toBeGreaterThan(READ_DEADLINE_MS + LATE_MS);
    });
    const { waited, longestMs } = await seen.stop();
    expect(waited.get("latchkey-reads"), "statements were seen to wait for the lock").toBeGreaterThan(0);
    expect(longestMs("latchkey-reads")).toBeLessThan(READ_MS + ROOM_MS);
  });

  it("ends as DEADLINE_EXCEEDED in time in management, and none of its statements outlives the statement_timeout", async () => {
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
      await letPass(STATEMENT_MS + 500, "every statement has met its own timeout by then");
    });
    const { waited, longestMs } = await seen.stop();
    expect(waited.get("latchkey"), "statements were seen to wait for the lock").toBeGreaterThan(0);
    expect(longestMs("latchkey")).toBeLessThan(STATEMENT_MS + ROOM_MS);
    // The control: the longest statement waited beyond the deadline of its call.
    expect(longestMs("latchkey")).toBeGreaterThan(STATEMENT_DEADLINE_MS + LATE_MS);
  });

  it("leaves no connection behind that still has its query, so that later calls get their own answers immediately", async () => {
    const fresh = await cast.issue(50);
    const [warm, lost, later] = [fresh.slice(0, 3), fresh.slice(3, 13), fresh.slice(13)];
    for (const key of warm) expect((await ask(key)).said).toBe("VALID");
    const before = await readers(postgres);
    const leftBefore = proxy.left();
    const kept = await connected(postgres, { port: proxy.port, query_timeout: READ_DEADLINE_MS });
    proxy.hang();
    const answers = await Promise.all(lost.map((key) => ask(key, READ_DEADLINE_MS)));
    expect(tally(answers)).toEqual({ DeadlineExceeded: lost.length });
    // The control: node-postgres by itself keeps such a connection. There the next query waits behind the lost one,
    // whose answer has still to come.
    await expect(kept.query("select 'lost'")).rejects.toThrow("timeout");
    const next = Promise.race([
      kept.query("select 'next'").then(
        () => "answered",
        () => "lost as well",
      ),
      pause(500, "waits"),
    ]);
    expect(await next).toBe("lost as well");
    // The proxy lets the answers through only after the service has closed a connection with a lost query.
    const leftAfterOneMore = async () => {
      await ask(lost[0]!, READ_DEADLINE_MS);
      return proxy.left();
    };
    await expect.poll(leftAfterOneMore).toBeGreaterThan(leftBefore);
    await proxy.restore();
    await kept.end();
    await expect.poll(async () => (await ask(later[0]!)).said, { timeout: 3000 }).toBe("VALID");
    const own = await Promise.all(later.map((key) => ask(key)));
    expect(own.map(({ response }) => response?.key?.id)).toEqual(later.map(({ id }) => id));
    report(
      "first calls after a lost wire",
      own.map(({ tookMs }) => tookMs),
    );
    // The fault happened: connections with a lost query are closed.
    const closed = async () => {
      const after = await readers(postgres);
      return before.filter((pid) => !after.includes(pid)).length;
    };
    await expect.poll(closed).toBeGreaterThan(0);
  });
});

describe.skipIf(!canStart("postgres"))("a management call that waits for a lock", () => {
  let postgres: PostgresServer;
  let fleet: Fleet;
  let cast: Cast;
  let database: pg.Client;
  let observer: pg.Client;
  let key: IssuedKey;

  beforeAll(async () => {
    postgres = await startPostgres();
    fleet = await startFleet({ DATABASE_URL: postgres.url() });
    cast = await fleet.cast();
    [key] = (await cast.issue(1)) as [IssuedKey];
    database = await connected(postgres);
    observer = await connected(postgres);
  });
  afterAll(async () => {
    await database?.end();
    await observer?.end();
    await fleet?.stop();
    await postgres?.stop();
  });

  /** The locks that a call waits for: a row within its transaction, or the audit trail, which it writes last. */
  const LOCKS = {
    "its owner's row": "select 1 from users for update",
    "its key's row": "select 1 from api_keys for update",
    "the audit trail": "lock table audit_events in exclusive mode",
  } as const;
  type Lock = keyof typeof LOCKS;
  const CALLS = {
    IssueKey: (client: Client<typeof KeyService>, options: CallOptions) => client.issueKey({ name: "late" }, options),
    RotateKey: (client: Client<typeof KeyService>, options: CallOptions) =>
      client.rotateKey({ keyId: key.id }, options),
  } as const;
  const TRANSPORTS = {
    "the unary lane": () => createGrpcTransport({ baseUrl: `http://${fleet.service.address}` }),
    "the Connect lane": () =>
      createConnectTransport({ baseUrl: `http://${fleet.service.address}`, httpVersion: "1.1" }),
  } as const;

  interface LateCall {
    /** The result that the caller was told: the name of a code, or OK. */
    readonly said: string;
    /** Whether the call left a mark in the database. */
    readonly isCommitted: boolean;
  }

  /**
   * Makes the call while a lock blocks it. The test releases the lock after the caller has its result, and before the
   * statement times out.
   */
  async function callLate(
    method: keyof typeof CALLS,
    lock: Lock,
    lane: keyof typeof TRANSPORTS,
    giveUp: "by its deadline" | "by itself" | "never",
  ): Promise<LateCall> {
    const client = createClient(KeyService, TRANSPORTS[lane]());
    const headers = { authorization: `Bearer ${cast.ownerToken}` };
    const patience = new AbortController();
    const before = await marks();
    await database.query("begin");
    await database.query(LOCKS[lock]);
    const options = giveUp === "by its deadline" ? { timeoutMs: STATEMENT_DEADLINE_MS } : { signal: patience.signal };
    const call = CALLS[method](client, { headers, ...options }).then(
      () => "OK",
      (error) => Code[ConnectError.from(error).code],
    );
    await expect.poll(waiting, { timeout: 5000 }).toBe("1");
    if (giveUp === "by itself") patience.abort();
    if (giveUp !== "never") await call;
    // The service has noticed the end of the call, and the statement still waits for the lock.
    if (giveUp !== "never") await expect.poll(ended, { timeout: 5000 }).toBeGreaterThan(0);
    expect(await waiting()).toBe("1");
    await database.query("rollback");
    const said = await call;
    await expect.poll(busy, { timeout: 5000 }).toBe("0");
    return { said, isCommitted: (await marks()) !== before };
  }

  const databaseAway = async () => {
    const text = await (await fetch(`http://${fleet.service.opsAddress}/metrics`)).text();
    return /^latchkey_database_away (\d)/m.exec(text)?.[1];
  };
  // The background write of last uses is excluded: it waits for the same rows.
  const statements =
    "select count(*) from pg_stat_activity where application_name = 'latchkey' and query not like 'with used as%'";
  const waiting = () => counted(`${statements} and wait_event_type = 'Lock'`);
  const busy = () => counted(`${statements} and state <> 'idle'`);
  /** Grows with each transaction that a call commits. */
  const marks = () =>
    counted(`select (select count(*) from api_keys) + (select count(*) from key_secrets)
      + (select count(*) from audit_events) + (select count(*) from changes) as count`);
  /** A process of psql would take a good part of a call's deadline. */
  const counted = async (query: string) => (await observer.query<{ count: string }>(query)).rows[0]!.count;
  let endedBefore = 0;
  const late = () => fleet.service.output().match(/"code":"(DEADLINE_EXCEEDED|CANCELLED)"/g)?.length ?? 0;
  const ended = () => late() - endedBefore;
  beforeEach(() => {
    endedBefore = late();
  });

  const CASES = [
    ["IssueKey", "its owner's row"],
    ["IssueKey", "the audit trail"],
    ["RotateKey", "its key's row"],
    ["RotateKey", "the audit trail"],
  ] as const;
  const LANES = Object.keys(TRANSPORTS) as (keyof typeof TRANSPORTS)[];

  it("counts as no outage, even if several callers give up: reads go on, and no answer is stale", async () => {
    for (const giveUp of ["by its deadline", "by itself", "by its deadline", "by itself"] as const) {
      await callLate("IssueKey", "its owner's row", "the unary lane", giveUp);
    }
    expect(await databaseAway()).toBe("0");
    const [unasked] = await cast.issue(1);
    const verifier = clientOf(fleet.service.address, KeyService, cast.verifier);
    const asked = await answerTo(() => verifier.verifyKey({ apiKey: unasked!.raw, cost: 0 }));
    expect(asked).toMatchObject({ said: "VALID" });
    // The control: a read that the database does not answer counts as an outage.
    const [cold] = await cast.issue(1);
    await database.query("begin");
    await database.query("lock table key_secrets in access exclusive mode");
    const refused = await answerTo(() => verifier.verifyKey({ apiKey: cold!.raw, cost: 0 }));
    const away = await databaseAway();
    await database.query("rollback");
    expect([refused.said, away]).toEqual(["Unavailable", "1"]);
    await expect.poll(databaseAway, { timeout: 5000 }).toBe("0");
  });

  describe.each(LANES)("over %s", (lane) => {
    it.each(CASES)("%s behind %s commits nothing after its caller was told DEADLINE_EXCEEDED", async (method, lock) => {
      const call = await callLate(method, lock, lane, "by its deadline");
      expect(call).toEqual({ said: "DeadlineExceeded", isCommitted: false });
    });

    it.each(CASES)("%s behind %s commits nothing after its client has gone", async (method, lock) => {
      const call = await callLate(method, lock, lane, "by itself");
      expect(call).toEqual({ said: "Canceled", isCommitted: false });
    });

    // The control: a call that waits for the same lock commits if its caller waits, too.
    it.each(CASES)("%s behind %s is carried out for a caller that waits", async (method, lock) => {
      expect(await callLate(method, lock, lane, "never")).toEqual({ said: "OK", isCommitted: true });
    });
  });

  // The last two tests cause audit events that the service writes seconds later.

  // The service gives up the work that a caller asked for when the caller goes. It does not give up the work that
  // protects others against that caller (docs/adr/0016).
  it("ends the session of a refresh token that is used again, even if its client has gone", async () => {
    const auth = clientOf(fleet.service.address, AuthService);
    const email = "replayed@example.com";
    const { tokens } = await auth.register({ email, password: PASSWORD });
    const { refreshToken } = tokens!;
    const second = await auth.refresh({ refreshToken });
    const { tokens: third } = await auth.refresh({ refreshToken: second.tokens!.refreshToken });
    await database.query("begin");
    await database.query("select 1 from sessions for update");
    const replay = auth.refresh({ refreshToken }, { timeoutMs: STATEMENT_DEADLINE_MS });
    await expect(replay).rejects.toMatchObject({ code: Code.DeadlineExceeded });
    expect(await waiting()).toBe("1");
    await database.query("rollback");
    await expect.poll(busy, { timeout: 5000 }).toBe("0");
    const refused = auth.refresh({ refreshToken: third!.refreshToken });
    await expect(refused).rejects.toMatchObject({ code: Code.Unauthenticated });
  });

  it("counts a wrong password, but not a right one, of a client that left before its answer", async () => {
    const auth = clientOf(fleet.service.address, AuthService);
    const email = "impatient@example.com";
    await auth.register({ email, password: PASSWORD });
    // Counts networks only: rows of an address or a session that may be the owner's have a name with a space.
    const failures = () =>
      postgres.sql("select coalesce(sum(failures), 0) from login_networks where network not like '% %'");
    const sessions = () => postgres.sql("select count(*) from sessions");
    const [failuresBefore, sessionsBefore] = [await failures(), await sessions()];
    /** Gives a login up while its statement after the hash waits. */
    const tryIn = async (password: string, lock: string) => {
      await database.query("begin");
      await database.query(lock);
      const patience = new AbortController();
      const login = auth.login({ email, password }, { signal: patience.signal });
      const given = expect(login).rejects.toMatchObject({ code: Code.Canceled });
      await expect.poll(waiting, { timeout: 5000 }).toBe("1");
      const lateBefore = late();
      patience.abort();
      await given;
      // The service has noticed it, and the statement still waits.
      await expect.poll(late, { timeout: 5000 }).toBeGreaterThan(lateBefore);
      await database.query("rollback");
      await expect.poll(busy, { timeout: 5000 }).toBe("0");
    };
    await tryIn(PASSWORD, "lock table sessions in exclusive mode");
    expect([await failures(), await sessions()]).toEqual([failuresBefore, sessionsBefore]);
    await tryIn("a password that is wrong 12", "lock table login_networks in exclusive mode");
    await expect.poll(failures, { timeout: 5000 }).toBe(String(Number(failuresBefore) + 1));
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

/** The process ids of the backends that serve hot reads. */
async function readers(postgres: PostgresServer): Promise<readonly string[]> {
  const pids = await postgres.sql("select pid from pg_stat_activity where application_name = 'latchkey-reads'");
  return pids.split("\n").filter(Boolean);
}

/** Polls what the service's statements do, and for how long. */
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
      await letPass(10, "looks again at a steady pace");
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
