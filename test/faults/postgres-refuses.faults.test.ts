/** A PostgreSQL that refuses, or whose answer is lost: the real server, with faults that triggers raise. */
import { Code } from "@connectrpc/connect";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { AuthService } from "../../src/gen/latchkey/v1/auth_service_pb.ts";
import { Key_State } from "../../src/gen/latchkey/v1/key_pb.ts";
import { KeyService } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { errorOf } from "../support/errors.ts";
import { type FaultProxy, startFaultProxy } from "../support/fault-proxy.ts";
import { startFleet } from "../support/fleet.ts";
import { clientOf, PASSWORD } from "../support/in-process-service.ts";
import { answerTo } from "../support/measurements.ts";
import { type PostgresServer, startPostgres } from "../support/own-postgres.ts";
import { canStart } from "../support/shared-servers.ts";
import type { Cast, IssuedKey, ReadyService } from "../support/spawned-service.ts";
import { until } from "../support/until.ts";

/** Not a superuser, so that limits on connections hold for it. */
const ROLE = "latchkey_service";
const SUPERUSER = "latchkey";
const BACK_WITHIN_MS = 5000;
/** Older than a fresh answer may be. */
const STALE_MS = 7000;
const SERIALIZATION_FAILURE = "40001";
const DISK_FULL = "53100";
/** MAX_ATTEMPTS of src/postgres/transactions/statements.ts. */
const ATTEMPTS = 3;

describe.skipIf(!canStart("postgres"))("PostgreSQL that", () => {
  let postgres: PostgresServer;
  let proxy: FaultProxy;
  let service: ReadyService;
  let cast: Cast;
  let hot: IssuedKey;

  beforeAll(async () => {
    postgres = await startPostgres();
    proxy = await startFaultProxy(postgres.port);
    await postgres.sql(`create role ${ROLE} login password 'secret'; grant all on schema public to ${ROLE}`);
    const fleet = await startFleet({
      DATABASE_URL: `postgres://${ROLE}:secret@127.0.0.1:${proxy.port}/postgres`,
      LATCHKEY_KEYS_PER_OWNER: "1000",
    });
    service = fleet.service;
    cast = await fleet.cast();
    [hot] = (await cast.issue(1)) as [IssuedKey];
    expect((await ask(hot)).said).toBe("VALID");
  });
  afterEach(async () => {
    await postgres.sql("drop function if exists trouble cascade; drop sequence if exists troubles");
  });
  afterAll(async () => {
    await service?.stop();
    await proxy?.stop();
    await postgres?.stop();
  });

  const ask = (key: IssuedKey) =>
    answerTo(() => clientOf(service.address, KeyService, cast.verifier).verifyKey({ apiKey: key.raw, cost: 0 }));
  const owner = () => clientOf(service.address, KeyService, cast.ownerToken);

  /** Lets the first `times` writes of a change fail with this SQLSTATE. */
  async function raise(sqlState: string, times: number): Promise<void> {
    await postgres.sql(`
      create sequence troubles;
      grant all on sequence troubles to ${ROLE};
      create function trouble() returns trigger language plpgsql as $$
        begin
          if nextval('troubles') <= ${times} then
            raise exception 'trouble' using errcode = '${sqlState}';
          end if;
          return new;
        end $$;
      create trigger trouble before insert on changes for each row execute function trouble()`);
  }
  const raised = async () => Number(await postgres.sql("select last_value from troubles"));
  const keysNamed = async (name: string) =>
    Number(await postgres.sql(`select count(*) from api_keys where name = '${name}'`));

  it("fails to serialize a transaction runs it again, and the caller gets its answer", async () => {
    await raise(SERIALIZATION_FAILURE, ATTEMPTS - 1);
    const { key } = await owner().issueKey({ name: "serialized" });
    expect(await raised(), "the fault happened").toBe(ATTEMPTS);
    expect(await keysNamed("serialized")).toBe(1);
    expect((await owner().getKey({ keyId: key!.id })).key?.state).toBe(Key_State.ACTIVE);
  });

  it("never serializes it makes the call fail as ABORTED, and changes nothing", async () => {
    await raise(SERIALIZATION_FAILURE, 1_000_000);
    expect(await errorOf(owner().issueKey({ name: "never" }))).toMatchObject({
      code: Code.Aborted,
      reason: "CONTENTION",
    });
    expect(await raised(), "tried so often").toBe(ATTEMPTS);
    expect(await keysNamed("never")).toBe(0);
  });

  it("has a full disk counts as unreachable for writes only", async () => {
    const [cold] = await cast.issue(1);
    await raise(DISK_FULL, 1_000_000);
    expect(await errorOf(owner().issueKey({ name: "full" }))).toMatchObject({ code: Code.Unavailable });
    expect(await errorOf(owner().revokeKey({ keyId: hot.id }))).toMatchObject({ code: Code.Unavailable });
    expect(await raised(), "the fault happened").toBe(2);
    expect(await keysNamed("full")).toBe(0);
    for (const key of [hot, cold!]) expect((await ask(key)).said).toBe("VALID");
  });

  it("refuses further connections counts as unreachable: keys in memory verify, and others are UNAVAILABLE", async () => {
    const [cold, other] = await cast.issue(2);
    await postgres.sql(`alter role ${ROLE} connection limit 0`);
    try {
      await postgres.sql(`select pg_terminate_backend(pid) from pg_stat_activity where usename = '${ROLE}'`);
      const backends = `select count(*) from pg_stat_activity where usename = '${ROLE}'`;
      await until(async () => (await postgres.sql(backends)) === "0", "all connections have ended");
      for (let round = 0; round < 20; round++) {
        expect((await ask(hot)).said).toBe("VALID");
        expect((await ask(cold!)).said).toBe("Unavailable");
      }
      expect(await errorOf(owner().issueKey({ name: "crowded out" }))).toMatchObject({ code: Code.Unavailable });
      expect(await keysNamed("crowded out")).toBe(0);
      // The fault happened: the service still has no connection.
      expect(await postgres.sql(backends)).toBe("0");
    } finally {
      await postgres.sql(`alter role ${ROLE} connection limit -1`);
    }
    await expect.poll(async () => (await ask(cold!)).said, { timeout: BACK_WITHIN_MS }).toBe("VALID");
    expect((await ask(other!)).said).toBe("VALID");
  });

  it("refuses the statements of the service counts as unreachable, with an alarm: hot keys are VALID beyond 5 s, and others UNAVAILABLE", async () => {
    const [cold] = await cast.issue(1);
    expect((await ask(hot)).said).toBe("VALID");
    // A missing privilege (42501) is not the code of an outage. The feed fails by it as well, so that copies grow old.
    const tables = "api_keys, changes, change_horizon, users, key_secrets";
    const owners = tables.split(", ").map((table) => `alter table ${table} owner to`);
    await postgres.sql(owners.map((owner) => `${owner} ${SUPERUSER}`).join("; "));
    const ages: number[] = [];
    try {
      await until(async () => {
        const { said, response } = await ask(hot);
        expect(said).toBe("VALID");
        ages.push(Date.now() - Number(response!.freshness!.asOfTime!.seconds) * 1000);
        return ages.at(-1)! > STALE_MS;
      }, "it is served stale");
      expect((await ask(cold!)).said).toBe("Unavailable");
    } finally {
      await postgres.sql(owners.map((owner) => `${owner} ${ROLE}`).join("; "));
    }
    // The fault happened: reads were tried, and failed by a code that is no sign of an outage.
    expect(service.output()).toMatch(
      /"code":"42501","name":"insufficient_privilege".*PostgreSQL refuses what the service asks"/,
    );
    await expect.poll(async () => (await ask(cold!)).said, { timeout: BACK_WITHIN_MS }).toBe("VALID");
  });

  describe("dies between a COMMIT and its answer", () => {
    /** Runs `call` so that its transaction commits and the answer is lost. The call must fail as UNAVAILABLE. */
    async function loseAnswer(call: () => Promise<unknown>): Promise<void> {
      await postgres.sql(`
        create function trouble() returns trigger language plpgsql as $$
          begin perform pg_sleep(0.5); return null; end $$;
        create constraint trigger trouble after insert or update on sessions
          deferrable initially deferred for each row execute function trouble();
        create constraint trigger trouble after insert or update on api_keys
          deferrable initially deferred for each row execute function trouble()`);
      const committing = "from pg_stat_activity where application_name = 'latchkey' and query ~* '^commit'";
      const outcome = errorOf(call());
      await until(
        async () => (await postgres.sql(`select count(*) ${committing} and state = 'active'`)) === "1",
        "COMMIT",
      );
      proxy.hang();
      await until(
        async () => (await postgres.sql(`select count(*) ${committing} and state = 'active'`)) === "0",
        "it is done",
      );
      await postgres.kill();
      await proxy.cut();
      expect(await outcome).toMatchObject({ code: Code.Unavailable });
      await postgres.restart();
      await proxy.restore();
      await postgres.sql("drop function trouble cascade");
    }

    /** Repeats a call while it is UNAVAILABLE, as a client does. */
    async function insist<T>(call: () => Promise<T>): Promise<T> {
      for (;;) {
        try {
          return await call();
        } catch (error) {
          if ((error as { code?: Code }).code !== Code.Unavailable) throw error;
        }
      }
    }

    it("has issued one key, whose id a second call with the same request_id gets", async () => {
      const request = { name: "issued once", requestId: crypto.randomUUID() };
      await loseAnswer(() => owner().issueKey(request));
      const keyId = await postgres.sql("select id from api_keys where name = 'issued once'");
      // The control: the transaction committed, so that a call with another request_id makes another key.
      expect(keyId).toMatch(/^key_/);
      const again = await errorOf(insist(() => owner().issueKey(request)));
      expect(again).toMatchObject({ code: Code.AlreadyExists });
      expect(JSON.stringify(again)).toContain(keyId);
      expect(await keysNamed("issued once")).toBe(1);
      await insist(() => owner().issueKey({ ...request, requestId: crypto.randomUUID() }));
      expect(await keysNamed("issued once")).toBe(2);
    });

    it("has revoked a key at the time that the next call returns, with one audit event", async () => {
      const [key] = (await cast.issue(1)) as [IssuedKey];
      await loseAnswer(() => owner().revokeKey({ keyId: key.id }));
      const revoked = `select state, floor(extract(epoch from revoked_at)) from api_keys where id = '${key.id}'`;
      const [state, atSeconds] = (await postgres.sql(revoked)).split("|");
      expect(state).toBe("revoked");
      const again = await insist(() => owner().revokeKey({ keyId: key.id }));
      expect(again.key).toMatchObject({ state: Key_State.REVOKED, revokeTime: { seconds: BigInt(atSeconds!) } });
      const events = `select count(*) from audit_events where subject_id = '${key.id}' and kind = 'key.revoked'`;
      expect(await postgres.sql(events)).toBe("1");
      expect((await insist(() => ask(key))).said).toBe("REVOKED");
    });

    it("has refreshed a session, whose old token then always gets the same good successor", async () => {
      const anyone = clientOf(service.address, AuthService);
      const { tokens } = await anyone.register({ email: "refreshes@example.com", password: PASSWORD });
      const { refreshToken } = tokens!;
      const generation =
        "select max(generation) from sessions s join users u on u.id = s.user_id where u.email = 'refreshes@example.com'";
      expect(await postgres.sql(generation)).toBe("1");
      await loseAnswer(() => anyone.refresh({ refreshToken }));
      expect(await postgres.sql(generation), "it was committed").toBe("2");
      const [first, second] = [
        await insist(() => anyone.refresh({ refreshToken })),
        await insist(() => anyone.refresh({ refreshToken })),
      ];
      expect(first.tokens!.refreshToken).toBe(second.tokens!.refreshToken);
      expect(await postgres.sql(generation)).toBe("2");
      const next = await anyone.refresh({ refreshToken: first.tokens!.refreshToken });
      expect(next.tokens!.refreshToken).not.toBe(first.tokens!.refreshToken);
    });
  });
});
