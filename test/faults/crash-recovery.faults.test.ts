/** A crash of PostgreSQL that assigns transaction ids again: no change with such an id is lost. Real processes. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  Freshness_Source,
  KeyService,
  type WatchRevocationsResponse,
} from "../../src/gen/latchkey/v1/key_service_pb.ts";
import type { FaultProxy } from "../support/fault-proxy.ts";
import { type Fleet, startFleet, startProxyTo } from "../support/fleet.ts";
import { clientOf } from "../support/in-process-service.ts";
import { answerTo } from "../support/measurements.ts";
import { type PostgresServer, startPostgres } from "../support/own-postgres.ts";
import { canStart } from "../support/shared-servers.ts";
import type { Cast, IssuedKey } from "../support/spawned-service.ts";
import { until } from "../support/until.ts";

/** Maximum age of a record in use while the database answers: 5 s, and 0.3 s for the call itself. */
const BOUND_MS = 5300;
/** A crash just after a flush assigns no ids again. The test then repeats it, at most this many times. */
const MOST_CRASHES = 10;
const BURNT = 500;
/** Takes ids with aborted transactions. PostgreSQL does not wait until their records are on disk. */
const BURN = `do $$ begin for n in 1..${BURNT} loop perform pg_current_xact_id(); rollback; end loop; end $$`;
/** Takes more ids than the crash lost, as other clients of the cluster would. */
const USE_MORE = "do $$ begin for n in 1..5000 loop perform pg_current_xact_id(); commit; end loop; end $$";
const XMAX = "select pg_snapshot_xmax(pg_current_snapshot())";

describe.skipIf(!canStart("postgres"))("a crash of PostgreSQL that assigns transaction ids again", () => {
  let postgres: PostgresServer;
  let proxy: FaultProxy;
  let fleet: Fleet;
  let cast: Cast;
  beforeAll(async () => {
    postgres = await startPostgres();
    const linked = await startProxyTo(postgres.url());
    proxy = linked.proxy;
    // The test cuts the second process off while the first one goes on.
    fleet = await startFleet({ DATABASE_URL: postgres.url() }, [{}, { DATABASE_URL: linked.url }]);
    cast = await fleet.cast();
  });
  afterAll(async () => {
    await fleet?.stop();
    await proxy?.stop();
    await postgres?.stop();
  });

  const verifier = () => clientOf(fleet.processes[1]!.address, KeyService, cast.verifier);
  const ask = (key: IssuedKey) => answerTo(() => verifier().verifyKey({ apiKey: key.raw, cost: 0 }));

  it("loses no revocation: a process that has seen those ids refuses the key, and watchers get resync", async () => {
    const [key] = await cast.issue(1);
    const isKept = async () => (await ask(key!)).response?.freshness?.source === Freshness_Source.CACHE;
    await until(isKept, "the cut-off process has the key in memory");

    const seen = await crashWithLostIds();
    await insist(() => clientOf(fleet.processes[0]!.address, KeyService, cast.admin).revokeKey({ keyId: key!.id }));
    const changed = await postgres.sql(
      `select xact_id from changes where subject_id = '${key!.id}' order by id desc limit 1`,
    );
    expect(BigInt(changed), "the fault: the change is under an id that the process has seen").toBeLessThan(seen.xmax);
    await postgres.sql(USE_MORE);
    expect(BigInt(await postgres.sql(XMAX)), "the fault: no id shows it any more").toBeGreaterThan(seen.xmax);

    await proxy.restore();
    await expect.poll(async () => (await ask(key!)).said, { timeout: BOUND_MS, interval: 20 }).toBe("REVOKED");
    const told = await insist(() => firstMessage(seen.cursor));
    expect(told.resync).toBe(true);
    // The control: a current cursor gets no resync.
    const again = await insist(() => firstMessage(told.cursor));
    expect(again.resync).toBe(false);
  });

  it("differs from a restart of PostgreSQL, after which ids continue and no change is missed", async () => {
    const [key] = await cast.issue(1);
    await until(async () => (await ask(key!)).said === "VALID", "the process knows the key");
    const before = BigInt(await postgres.sql(XMAX));
    await postgres.restart();
    expect(BigInt(await postgres.sql(XMAX))).toBeGreaterThanOrEqual(before);
    await insist(() => clientOf(fleet.processes[0]!.address, KeyService, cast.admin).revokeKey({ keyId: key!.id }));
    await expect.poll(async () => (await ask(key!)).said, { timeout: BOUND_MS, interval: 20 }).toBe("REVOKED");
  });

  /**
   * Cuts the second process off and crashes the server. @returns the cursor of a client of that process, and its xmax
   */
  async function crashWithLostIds(): Promise<{ readonly cursor: string; readonly xmax: bigint }> {
    for (let crash = 1; crash <= MOST_CRASHES; crash++) {
      // Without the WAL writer only a commit flushes the records of the aborted transactions to disk.
      const writer = Number(await postgres.sql("select pid from pg_stat_activity where backend_type = 'walwriter'"));
      process.kill(writer, "SIGSTOP");
      const xmaxBefore = BigInt(await postgres.sql(XMAX));
      await postgres.sql(BURN);
      const cursor = await cursorBeyond(xmaxBefore + BigInt(BURNT));
      await proxy.cut();
      const backend = await postgres.sql(
        // The backend of this query is excluded: it ends before the signal.
        "select pid from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid() limit 1",
      );
      process.kill(Number(backend), "SIGKILL");
      process.kill(writer, "SIGCONT");
      await until(async () => (await postgres.sql(XMAX).catch(() => "")) !== "", "PostgreSQL has recovered");
      const seen = { cursor, xmax: xmaxOf(cursor) };
      if (BigInt(await postgres.sql(XMAX)) < seen.xmax - 100n) return seen;
      await proxy.restore();
      await until(async () => (await ask((await cast.issue(1))[0]!)).said === "VALID", "all goes on as before");
    }
    throw new Error(`of ${MOST_CRASHES} crashes none gave ids again`);
  }

  /** The cursor of a watcher on the second process, once its feed has read to this id. */
  async function cursorBeyond(xactId: bigint): Promise<string> {
    const abort = new AbortController();
    let isLive = false;
    try {
      for await (const { cursor } of verifier().watchRevocations({}, { signal: abort.signal })) {
        if (isLive && xmaxOf(cursor) >= xactId) return cursor;
        // The first cursor comes from the watch's own read, the later ones from the feed.
        isLive ||= cursor !== "";
      }
    } finally {
      abort.abort();
    }
    throw new Error("the watch ended");
  }

  async function firstMessage(cursor: string): Promise<WatchRevocationsResponse> {
    const abort = new AbortController();
    try {
      for await (const message of verifier().watchRevocations({ cursor }, { signal: abort.signal })) return message;
    } finally {
      abort.abort();
    }
    throw new Error("the watch ended");
  }
});

/** A cursor ends with a snapshot: xmin, xmax and the transactions in progress between them. */
function xmaxOf(cursor: string): bigint {
  return BigInt(Buffer.from(cursor, "base64url").toString().split(":").at(-2)!);
}

/** Repeats a call that is UNAVAILABLE, because the service is still making its connections again. */
async function insist<T>(call: () => Promise<T>): Promise<T> {
  let result: { readonly value: T } | undefined;
  await until(async () => {
    result = await call().then(
      (value) => ({ value }),
      () => undefined,
    );
    return result !== undefined;
  }, "the call is answered");
  return result!.value;
}
