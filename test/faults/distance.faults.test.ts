/** A PostgreSQL that is far away: a slow server does not count as unreachable. */
import { timestampMs } from "@bufbuild/protobuf/wkt";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { MAX_SESSIONS_PER_USER } from "../../src/auth/session.ts";
import { AdminService } from "../../src/gen/latchkey/v1/admin_service_pb.ts";
import { AuthService } from "../../src/gen/latchkey/v1/auth_service_pb.ts";
import { Freshness_Source, KeyService } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import type { FaultProxy } from "../support/fault-proxy.ts";
import { type Fleet, startFleet, startProxyTo } from "../support/fleet.ts";
import { clientOf, PASSWORD } from "../support/in-process-service.ts";
import { type Answer, answerTo, quantile, report, tally } from "../support/measurements.ts";
import { type PostgresServer, startPostgres } from "../support/own-postgres.ts";
import { canStart } from "../support/shared-servers.ts";
import { type Cast, type IssuedKey, startService } from "../support/spawned-service.ts";

/** Within this the service notices that a database answers: the circuit breaker lets a read try every 500 ms. */
const CONNECTED_MS = 1500;
/** The longest wait of a caller, at any distance of the database. */
const ANSWER_MS = 300;
const ROOM_MS = 100;
/** Maximum age of a record in use while the feed polls. */
const FRESH_MS = 5000;
const READERS = "from pg_stat_activity where application_name = 'latchkey-reads'";

describe.skipIf(!canStart("postgres"))("a service whose PostgreSQL is far away", () => {
  let postgres: PostgresServer;
  let proxy: FaultProxy;
  let fleet: Fleet;
  let cast: Cast;

  beforeAll(async () => {
    postgres = await startPostgres();
    const linked = await startProxyTo(postgres.url());
    proxy = linked.proxy;
    fleet = await startFleet({ DATABASE_URL: linked.url, LATCHKEY_KEYS_PER_OWNER: "1000" });
    cast = await fleet.cast();
  });
  afterAll(async () => {
    await fleet?.stop();
    await proxy?.stop();
    await postgres?.stop();
  });

  const ask = (key: IssuedKey): Promise<Answer> =>
    answerTo(() => clientOf(fleet.service.address, KeyService, cast.verifier).verifyKey({ apiKey: key.raw, cost: 0 }));

  async function inTurn(keys: readonly IssuedKey[]): Promise<readonly Answer[]> {
    const answers: Answer[] = [];
    for (const key of keys) answers.push(await ask(key));
    return answers;
  }

  function expectFarAway(answers: readonly Answer[], eachWayMs: number, what: string): void {
    const times = answers.map(({ tookMs }) => tookMs);
    report(`${2 * eachWayMs} ms there and back, ${what}`, times);
    expect(tally(answers)).toEqual({ VALID: answers.length });
    for (const { response } of answers) expect(response?.freshness?.source).toBe(Freshness_Source.DATABASE);
    // The fault happened: an answer takes at least one round trip.
    expect(quantile(times, 0)).toBeGreaterThan(2 * eachWayMs - 1);
    expect(quantile(times, 1)).toBeLessThan(ANSWER_MS + ROOM_MS);
  }

  // Connecting takes two of these round trips with a password in clear, and one more with SCRAM. Over a long way that
  // is longer than one caller waits, so that a connection begun for one caller must serve the next.
  it.each([12.5, 25, 40])(
    "(%f ms each way) reads keys that are not in memory, and after a lost connection soon again",
    async (ms) => {
      const [known, ...keys] = await cast.issue(21);
      const [warm, cold] = [keys.slice(0, 10), keys.slice(10)];
      expect((await ask(known!)).said).toBe("VALID");
      try {
        proxy.delay(ms);
        expectFarAway(await inTurn(warm), ms, "connected");
        const ended = await postgres.sql(`select count(pg_terminate_backend(pid)) ${READERS}`);
        expect(Number(ended), "there were connections to lose").toBeGreaterThan(0);
        await expect.poll(() => postgres.sql(`select count(*) ${READERS}`), { interval: 5 }).toBe("0");
        const first: Answer[] = [];
        do first.push(await ask(cold[0]!));
        while (first.at(-1)!.said !== "VALID" && performance.now() - first[0]!.askedAtMs < CONNECTED_MS);
        report(
          `${2 * ms} ms there and back, while it connects`,
          first.map(({ tookMs }) => tookMs),
        );
        expect(first.at(-1)!.said).toBe("VALID");
        for (const { said, tookMs } of first) {
          expect(["VALID", "Unavailable"]).toContain(said);
          expect(tookMs).toBeLessThan(ANSWER_MS + ROOM_MS);
        }
        expectFarAway(await inTurn(cold.slice(1)), ms, "connected again");
      } finally {
        await proxy.restore();
      }
    },
  );

  it("(300 ms each way) keeps its records fresh, accepts no revoked key after 5 s, and is UNAVAILABLE for other keys", async () => {
    const [hot, cold] = await cast.issue(2);
    await using near = await startService({ ...fleet.env, DATABASE_URL: postgres.url() });
    expect((await ask(hot!)).said).toBe("VALID");
    const asOfMs = async () => {
      const { response } = await ask(hot!);
      return response === undefined ? 0 : timestampMs(response.freshness!.asOfTime!);
    };
    try {
      proxy.delay(300);
      const delayedAtMs = Date.now();
      const feeds = "from pg_stat_activity where application_name = 'latchkey-changes'";
      expect(Number(await postgres.sql(`select count(pg_terminate_backend(pid)) ${feeds}`))).toBeGreaterThan(0);
      // Only a poll on a connection made at this distance can bring such a time.
      await expect.poll(asOfMs, { timeout: 30_000 }).toBeGreaterThan(delayedAtMs + FRESH_MS);
      for (let round = 0; round < 10; round++) {
        const { said, response } = await ask(hot!);
        expect(said).toBe("VALID");
        expect(response!.freshness).toMatchObject({ source: Freshness_Source.CACHE, maxStaleness: { seconds: 5n } });
      }
      const { said, tookMs } = await ask(cold!);
      expect(said).toBe("Unavailable");
      expect(tookMs).toBeLessThan(ANSWER_MS + ROOM_MS);
      const management = clientOf(near.address, KeyService, cast.admin);
      await management.revokeKey({ keyId: hot!.id });
      // A read would find it REVOKED, but at this distance no read completes in time. The key is only no longer VALID.
      const saidNow = async () => (await ask(hot!)).said;
      await expect.poll(saidNow, { timeout: FRESH_MS + ROOM_MS, interval: 20 }).not.toBe("VALID");
      for (let round = 0; round < 10; round++) expect(await saidNow()).not.toBe("VALID");
    } finally {
      await proxy.restore();
    }
  });

  it(`(40 ms each way) ends a person's ${MAX_SESSIONS_PER_USER} sessions by a few statements, and records a change for each`, async () => {
    const email = "sessions@example.com";
    const { user } = await clientOf(fleet.service.address, AuthService).register({ email, password: PASSWORD });
    const userId = user!.id;
    await postgres.sql(
      `insert into sessions select (jsonb_populate_record(s, jsonb_build_object('id', 'ses_' || lpad(n::text, 16, '0')))).*
       from sessions s, generate_series(2, ${MAX_SESSIONS_PER_USER}) n where s.user_id = '${userId}'`,
    );
    const operator = clientOf(fleet.service.address, AdminService, cast.admin);
    const live = `select count(*) from sessions where user_id = '${userId}' and ended_at is null`;
    expect(await postgres.sql(live)).toBe(`${MAX_SESSIONS_PER_USER}`);
    try {
      proxy.delay(40);
      const askedAtMs = performance.now();
      await operator.endUserSessions({ userId });
      const tookMs = performance.now() - askedAtMs;
      report(`80 ms there and back, ${MAX_SESSIONS_PER_USER} sessions ended`, [tookMs]);
      // The fault happened: a transaction takes several round trips. A statement for each session would add 50.
      expect(tookMs).toBeGreaterThan(4 * 80);
      expect(tookMs).toBeLessThan(MAX_SESSIONS_PER_USER * 80 * 0.5);
    } finally {
      await proxy.restore();
    }
    expect(await postgres.sql(live)).toBe("0");
    const told = `select count(distinct c.subject_id) from changes c join sessions s on s.id = c.subject_id`;
    expect(await postgres.sql(`${told} where s.user_id = '${userId}'`)).toBe(`${MAX_SESSIONS_PER_USER}`);
  });
});
