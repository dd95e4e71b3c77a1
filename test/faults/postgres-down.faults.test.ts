/** The answers of VerifyKey while PostgreSQL is dead or frozen: the real service, under load. */

import { describe, expect, it } from "vitest";
import { Freshness_Source, KeyService, Verdict } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { childrenOf, isDead, procStat } from "../support/child-process.ts";
import { startFleet } from "../support/fleet.ts";
import { clientOf } from "../support/in-process-service.ts";
import { type Answer, answerTo, quantile, report, tally } from "../support/measurements.ts";
import { type PostgresServer, startPostgres } from "../support/own-postgres.ts";
import { canStart } from "../support/shared-servers.ts";
import type { IssuedKey, ReadyService } from "../support/spawned-service.ts";
import { letPass } from "../support/until.ts";

/** Time for which the service uses a record without asking the database again. */
const FRESH_MS = 5000;
/** Short, so that the test also sees the end of stale service. The default is 60 s. */
const STALE_OK_SECONDS = 7;
const SERVED_MS = FRESH_MS + STALE_OK_SECONDS * 1000;
/** The last good poll was at most 1 s before the fault, and a busy machine adds a delay. */
const BEFORE_MS = 1500;
const AFTER_MS = 1000;
const FAULT_MS = SERVED_MS + AFTER_MS + 2000;
const BACK_WITHIN_MS = 3000;

interface Fault {
  readonly begin: (postgres: PostgresServer) => Promise<void>;
  /** Shows that the fault holds. */
  readonly expectHeld: (postgres: PostgresServer) => Promise<void>;
  readonly end: (postgres: PostgresServer) => Promise<void>;
}

const FAULTS: Record<string, Fault> = {
  dead: {
    begin: (postgres) => postgres.kill(),
    expectHeld: (postgres) => expect(postgres.sql("select 1")).rejects.toThrow("Connection refused"),
    end: (postgres) => postgres.restart(),
  },
  frozen: {
    begin: (postgres) => postgres.freeze(),
    expectHeld: async (postgres) => {
      const pids = [postgres.pid, ...childrenOf(postgres.pid)].filter((pid) => !isDead(pid));
      expect(pids.length, "with its backends").toBeGreaterThan(4);
      // After the freeze only the kernel accepts connections, and no process of PostgreSQL does.
      expect(pids.map((pid) => procStat(pid)?.state)).toEqual(pids.map(() => "T"));
    },
    end: async (postgres) => postgres.resume(),
  },
};

/** A PostgreSQL for one fault, with two processes and the keys that the test asks for. */
async function setUp() {
  const postgres = await startPostgres();
  // The second process is the control: the same service without stale service.
  const fleet = await startFleet({ DATABASE_URL: postgres.url(), LATCHKEY_KEYS_PER_OWNER: "1000" }, [
    { LATCHKEY_STALE_OK_SECONDS: `${STALE_OK_SECONDS}` },
    { LATCHKEY_STALE_OK_SECONDS: "0" },
  ]);
  const [service, strict] = fleet.processes as [ReadyService, ReadyService];
  const cast = await fleet.cast();
  const asking = ({ address }: ReadyService) => {
    const client = clientOf(address, KeyService, cast.verifier);
    return (key: IssuedKey) => answerTo(() => client.verifyKey({ apiKey: key.raw, cost: 0 }));
  };
  const [hot, cold] = [await cast.issue(30), await cast.issue(40)];
  return {
    ...{ postgres, service, cast, hot, cold, ask: asking(service), askStrict: asking(strict) },
    async [Symbol.asyncDispose]() {
      await fleet.stop();
      await postgres.stop();
    },
  };
}

describe.skipIf(!canStart("postgres"))("while PostgreSQL is unreachable", () => {
  it.concurrent.each(Object.entries(FAULTS))(
    "(%s) hot keys verify until the stated bound, others are soon UNAVAILABLE and never called bad, and all verify later",
    async (name, fault) => {
      await using at = await setUp();
      const { postgres, service, cast, hot, cold, ask, askStrict } = at;
      for (const key of hot) for (const each of [ask, askStrict]) expect((await each(key)).said).toBe("VALID");
      // The control: with PostgreSQL the service answers for a key that is not in memory.
      const [spare, ...unasked] = cold;
      expect(await ask(spare!)).toMatchObject({
        said: "VALID",
        response: { freshness: { source: Freshness_Source.DATABASE } },
      });

      const answers = { hot: [] as Answer[], cold: [] as Answer[], strict: [] as Answer[] };
      const loads = [
        repeat(5, async (n) => answers.hot.push(await ask(hot[n % hot.length]!))),
        repeat(5, async (n) => answers.hot.push(await ask(hot[(n * 7) % hot.length]!))),
        repeat(100, async (n) => answers.strict.push(await askStrict(hot[n % hot.length]!))),
      ];
      await letPass(200, "each load has begun before the fault");
      await fault.begin(postgres);
      const faultAtMs = performance.now();
      loads.push(repeat(50, async (n) => answers.cold.push(await ask(unasked[n % unasked.length]!))));
      await letPass(FAULT_MS / 2, "the fault lasts as long");
      await fault.expectHeld(postgres);
      await letPass(FAULT_MS / 2, "the fault lasts as long");
      await fault.expectHeld(postgres);
      const endAtMs = performance.now();
      await Promise.all(loads.splice(0).map((load) => load.stop()));
      const ageOf = ({ askedAtMs }: Answer) => askedAtMs - faultAtMs;

      const served = answers.hot.filter((answer) => ageOf(answer) + answer.tookMs < SERVED_MS - BEFORE_MS);
      const beyond = answers.hot.filter((answer) => ageOf(answer) > SERVED_MS + AFTER_MS);
      expect(tally(served)).toEqual({ VALID: served.length });
      expect(tally(beyond)).toEqual({ Unavailable: beyond.length });
      expect(Math.min(served.length, beyond.length)).toBeGreaterThan(100);
      expect(tally(answers.cold)).toEqual({ Unavailable: answers.cold.length });
      // The control: without stale service the same keys are UNAVAILABLE when their records are 5 s old.
      const strictLater = answers.strict.filter((answer) => ageOf(answer) > FRESH_MS + AFTER_MS);
      expect(tally(strictLater)).toEqual({ Unavailable: strictLater.length });
      expect(strictLater.length).toBeGreaterThan(20);

      const stale = served.filter((answer) => ageOf(answer) > FRESH_MS + AFTER_MS).at(-1)!.response!.freshness!;
      expect(stale.source).toBe(Freshness_Source.CACHE);
      expect(Number(stale.maxStaleness!.seconds)).toBe(SERVED_MS / 1000);

      report(
        `PostgreSQL ${name}, hot keys`,
        served.filter((answer) => ageOf(answer) > 0).map(({ tookMs }) => tookMs),
      );
      const refusedMs = [...answers.cold, ...beyond].map(({ tookMs }) => tookMs);
      report(`PostgreSQL ${name}, UNAVAILABLE`, refusedMs);
      expect(quantile(refusedMs, 0.95)).toBeLessThan(300);
      expect(quantile(refusedMs, 1)).toBeLessThan(1000);
      expect(endAtMs - faultAtMs).toBeGreaterThan(SERVED_MS + AFTER_MS);

      await fault.end(postgres);
      const backAtMs = performance.now();
      const later: Answer[] = [];
      do later.push(await ask(cold[1]!));
      while (later.at(-1)!.said !== "VALID" && performance.now() - backAtMs < BACK_WITHIN_MS);
      expect(Object.keys(tally(later)).filter((said) => said !== "Unavailable")).toEqual(["VALID"]);
      expect(later.at(-1)).toMatchObject({ said: "VALID" });
      for (const key of [...hot, ...cold]) expect((await ask(key)).said).toBe("VALID");
      // The control: the test would have seen a refusal.
      await clientOf(service.address, KeyService, cast.admin).revokeKey({ keyId: hot[0]!.id });
      expect((await ask(hot[0]!)).response).toMatchObject({ valid: false, verdict: Verdict.REVOKED });
    },
  );
});

/** Repeats `work` with a pause in between until `stop`. */
function repeat(everyMs: number, work: (n: number) => Promise<unknown>): { stop(): Promise<void> } {
  let isStopped = false;
  const running = (async () => {
    for (let n = 0; !isStopped; n++) {
      await work(n);
      await letPass(everyMs, "calls come at a steady pace");
    }
  })();
  return {
    stop: () => {
      isStopped = true;
      return running;
    },
  };
}
