/**
 * The replacement of a signing key in three processes under load. Foreign verifiers, which know only RFC 7517 and the
 * address of one process, refuse no token meanwhile. Real processes keep real time, and a new key signs 6 minutes after
 * its publication. So the test moves the times of the keys in the database after every verifier has fetched the set
 * again. It does not show that 6 minutes are enough for a verifier that keeps the set for all of `max-age`:
 * test/rpc/signing-keys.faults.test.ts shows that on a clock that it moves.
 */
import { Code, ConnectError } from "@connectrpc/connect";
import { createRemoteJWKSet, decodeProtectedHeader, jwtVerify } from "jose";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { AdminService } from "../../src/gen/latchkey/v1/admin_service_pb.ts";
import { AuthService } from "../../src/gen/latchkey/v1/auth_service_pb.ts";
import { SigningKey_State as State } from "../../src/gen/latchkey/v1/signing_key_pb.ts";
import { type Fleet, startFleet } from "../support/fleet.ts";
import { clientOf, PASSWORD } from "../support/in-process-service.ts";
import { type PostgresServer, startPostgres } from "../support/own-postgres.ts";
import { freshEmail } from "../support/people.ts";
import { canStart } from "../support/shared-servers.ts";
import type { ReadyService } from "../support/spawned-service.ts";
import { letPass, until } from "../support/until.ts";

const PROCESSES = 3;
const CLAIMS = { issuer: "http://localhost:8080", audience: "latchkey", typ: "at+jwt" };
/**
 * Longer than the test. A verifier that keeps its set for this time fetches it again neither for its age nor for an
 * unknown key.
 */
const NEVER_MS = 3_600_000;
const LEAD = "interval '361 seconds'";

const kidOf = (token: string) => decodeProtectedHeader(token).kid!;

/** A foreign verifier. It fetches the set when it is older than `keptMs`, but not for an unknown key id. */
function verifierOf({ address }: ReadyService, keptMs: number) {
  const keys = createRemoteJWKSet(new URL(`http://${address}/.well-known/jwks.json`), {
    cacheMaxAge: keptMs,
    cooldownDuration: NEVER_MS,
  });
  return {
    verify: (token: string) => jwtVerify(token, keys, CLAIMS),
    kids: () => (keys.jwks()?.keys ?? []).map(({ kid }) => kid),
  };
}

describe.skipIf(!canStart("postgres"))("a signing key of three processes", () => {
  let postgres: PostgresServer;
  let fleet: Fleet;
  beforeAll(async () => {
    postgres = await startPostgres();
    fleet = await startFleet({ DATABASE_URL: postgres.url() }, Array(PROCESSES).fill({}));
  });
  afterAll(async () => {
    await fleet?.stop();
    await postgres?.stop();
  });

  const operator = () => clientOf(fleet.processes[0]!.address, AdminService, fleet.admin);
  /** Moves the times of the keys 361 s back. So the next key signs, and all processes learn of it. */
  const moveTimes = () =>
    postgres.sql(`begin;
      update signing_keys set created_at = created_at - ${LEAD}, activates_at = activates_at - ${LEAD},
        retires_at = retires_at - ${LEAD};
      insert into changes (kind, subject_id) select 'SIGNING_KEY', kid from signing_keys;
      notify latchkey_changes;
      commit`);

  /** Starts the load: it shows each process's tokens to every verifier and to the next process until `stop`. */
  async function startLoad(verifiers: readonly ReturnType<typeof verifierOf>[]) {
    const signedBy = fleet.processes.map(() => new Set<string>());
    const failures: string[] = [];
    const counts = { tokens: 0, unavailable: 0 };
    let isOver = false;
    /** Repeats a call that a busy machine did not answer in time. */
    async function insist<T>(call: () => Promise<T>): Promise<T> {
      for (;;) {
        try {
          return await call();
        } catch (error) {
          if (ConnectError.from(error).code !== Code.Unavailable) throw error;
          counts.unavailable++;
          await letPass(20, "the service is restarting: tries again soon");
        }
      }
    }
    async function person(slot: number): Promise<void> {
      const own = clientOf(fleet.processes[slot]!.address, AuthService);
      const next = clientOf(fleet.processes[(slot + 1) % PROCESSES]!.address, AuthService);
      let { tokens } = await insist(() => own.register({ email: freshEmail(), password: PASSWORD }));
      while (!isOver) {
        const { accessToken, refreshToken } = tokens!;
        signedBy[slot]!.add(kidOf(accessToken));
        const headers = { authorization: `Bearer ${accessToken}` };
        const shown = [
          ...verifiers.map(({ verify }) => verify(accessToken)),
          insist(() => next.getCurrentUser({}, { headers })),
        ];
        for (const outcome of await Promise.allSettled(shown)) {
          if (outcome.status === "rejected") failures.push(String(outcome.reason.code ?? outcome.reason));
        }
        counts.tokens++;
        ({ tokens } = await insist(() => own.refresh({ refreshToken })));
        await letPass(10, "refreshes come at a steady pace");
      }
    }
    const running = Promise.all(fleet.processes.map((_, slot) => person(slot)));
    // `stop` reports a rejection.
    running.catch(() => {});
    await until(async () => signedBy.every(({ size }) => size > 0), "every process has signed");
    return {
      signedBy,
      failures,
      counts,
      async stop(): Promise<void> {
        isOver = true;
        await running;
      },
    };
  }

  it("is replaced while no verifier and no process refuses a token", async () => {
    const verifiers = fleet.processes.map((each) => verifierOf(each, 500));
    const load = await startLoad(verifiers);
    const [[old]] = load.signedBy.map((kids) => [...kids]) as [[string], ...[string][]];
    const { key } = await operator().rotateSigningKey({});
    expect(key).toMatchObject({ state: State.NEXT });
    const knowBoth = async () => verifiers.every(({ kids }) => kids().includes(key!.id) && kids().includes(old));
    await until(knowBoth, "every verifier has the set of its process with both keys");
    // The new key is published, and no process signs with it yet.
    const tokensThen = load.counts.tokens;
    await until(async () => load.counts.tokens > tokensThen + 30, "tokens are made meanwhile");
    expect(load.signedBy.map((kids) => [...kids])).toEqual(fleet.processes.map(() => [old]));
    await moveTimes();
    await until(async () => load.signedBy.every((kids) => kids.has(key!.id)), "every process signs with the new one");
    const tokensSince = load.counts.tokens;
    await until(async () => load.counts.tokens > tokensSince + 30, "tokens of the new one are shown");
    await load.stop();
    process.stderr.write(`      ${load.counts.tokens} tokens through a rotation, 3 processes, 3 verifiers\n`);
    expect(load.failures).toEqual([]);
    expect(load.counts.unavailable).toBeLessThan(load.counts.tokens / 20);
    const { keys } = await operator().listSigningKeys({});
    expect(keys.map(({ id, state }) => [id, state])).toEqual([
      [key!.id, State.ACTIVE],
      [old, State.RETIRED],
    ]);
  });

  it("makes a verifier refuse tokens if it signs before the verifier could learn of it: the control", async () => {
    const verifiers = [verifierOf(fleet.processes[0]!, NEVER_MS)];
    const load = await startLoad(verifiers);
    await until(async () => verifiers[0]!.kids().length > 0, "the verifier has the set");
    const { key } = await operator().rotateSigningKey({});
    await moveTimes();
    await until(async () => load.signedBy.every((kids) => kids.has(key!.id)), "every process signs with the new one");
    await until(async () => load.failures.length > 0, "a token is refused");
    await load.stop();
    expect(new Set(load.failures)).toEqual(new Set(["ERR_JWKS_NO_MATCHING_KEY"]));
  });
});
