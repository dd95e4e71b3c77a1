/** The guesses that several processes judge when Redis forgets everything between the waves of an attack. */

import { Code, ConnectError } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { AuthService } from "../../src/gen/latchkey/v1/auth_service_pb.ts";
import { startFleet } from "../support/fleet.ts";
import { clientOf, PASSWORD } from "../support/in-process-service.ts";
import { withFault } from "../support/mutant-process.ts";
import { type PostgresServer, startPostgres } from "../support/own-postgres.ts";
import { type RedisServer, redisCommand, startRedis } from "../support/own-redis.ts";
import { canStart } from "../support/shared-servers.ts";
import { type ReadyService, startService } from "../support/spawned-service.ts";

const WRONG = "violet harbour engine quilt";
const AT_ONCE = 60;
/** The least number of waves. They go on until a wave gets no hash: a busy machine refuses much of each wave. */
const WAVES = 6;
const MOST_WAVES = 40;
/** Maximum failures of one account (NIST SP 800-63B-4, 3.2.2). */
const MAX_FAILURES = 100;
/** Maximum failures of one address. */
const MAX_FAILURES_PER_MINUTE = 20;

/** The usual mistake: judge the password first and count the attempt after it. Parallel guesses then pass the bound. */
const COUNTED_AFTER = {
  file: "src/auth/login.ts",
  search: `    await attempt.count();
    return deps.passwords.matches(found?.passwordHash, password);
`,
  replacement: `    const isMatch = await deps.passwords.matches(found?.passwordHash, password);
    await attempt.count();
    return isMatch;
`,
};

describe.skipIf(!canStart("postgres") || !canStart("redis"))("guessing at three processes at once", () => {
  let postgres: PostgresServer;
  let redis: RedisServer;
  let env: NodeJS.ProcessEnv;
  let processes: ReadyService[] = [];
  let numbers = 0;
  beforeAll(async () => {
    [postgres, redis] = await Promise.all([startPostgres(), startRedis()]);
    const settings = {
      DATABASE_URL: postgres.url(),
      REDIS_URL: redis.url,
      LATCHKEY_TRUSTED_PROXIES: "127.0.0.0/8",
      LATCHKEY_HASHES_PER_ADDRESS: "30",
      // Cheap hashes, so that the attempts end soon.
      LATCHKEY_ARGON2_MEMORY_KIB: "1024",
      LATCHKEY_ARGON2_PASSES: "1",
    };
    const fleet = await startFleet(settings, [{}, {}, {}]);
    env = fleet.env;
    processes = [...fleet.processes];
  });
  afterAll(async () => {
    await Promise.all(processes.map((process) => process.stop()));
    await Promise.all([postgres?.stop(), redis?.stop()]);
  });

  const freshIp = () => `10.${++numbers >> 8}.${numbers & 255}.1`;
  const freshEmail = () => `guessed-${++numbers}@example.com`;
  const from = (ip: string) => ({ headers: { "x-forwarded-for": ip } });

  async function hashes(at: readonly ReadyService[]): Promise<number> {
    const texts = await Promise.all(
      at.map(async ({ opsAddress }) => (await fetch(`http://${opsAddress}/metrics`)).text()),
    );
    return texts
      .map((text) => Number(/^latchkey_password_hashes_total (\d+)$/m.exec(text)![1]))
      .reduce((sum, each) => sum + each);
  }

  /** Guesses in waves at all processes, and empties Redis before each wave. @returns hashes, and answers by code */
  async function guess(at: readonly ReadyService[], target: () => { readonly email: string; readonly ip: string }) {
    const clients = at.map(({ address }) => clientOf(address, AuthService));
    const before = await hashes(at);
    const said: Record<string, number> = {};
    for (
      let wave = 0, judged = 0;
      wave < WAVES || (judged < (said.Unauthenticated ?? 0) && wave < MOST_WAVES);
      wave++
    ) {
      judged = said.Unauthenticated ?? 0;
      expect(await redisCommand(redis.port, "FLUSHALL")).toBe("OK");
      await Promise.all(
        Array.from({ length: AT_ONCE }, async (_, n) => {
          const { email, ip } = target();
          const error = await clients[n % clients.length]!.login({ email, password: WRONG }, from(ip)).then(
            () => undefined,
            ConnectError.from,
          );
          const code = error === undefined ? "OK" : Code[error.code]!;
          said[code] = (said[code] ?? 0) + 1;
        }),
      );
    }
    return { hashes: (await hashes(at)) - before, said };
  }

  it("gets at most 100 hashes of one account, and never locks out the address that the owner logged in from", async () => {
    const [email, home] = [freshEmail(), freshIp()];
    const anyone = clientOf(processes[0]!.address, AuthService);
    await anyone.register({ email, password: PASSWORD }, from(home));
    const guessed = await guess(processes, () => ({ email, ip: freshIp() }));
    expect(guessed.hashes).toBe(guessed.said.Unauthenticated);
    // The fault happened: more than half of the allowed guesses were judged, and most others were refused.
    expect(guessed.hashes).toBeGreaterThan(MAX_FAILURES / 2);
    expect(guessed.hashes).toBeLessThanOrEqual(MAX_FAILURES);
    expect(guessed.said.ResourceExhausted).toBeGreaterThan(AT_ONCE);
    const stranger = await anyone.login({ email, password: PASSWORD }, from(freshIp())).catch(ConnectError.from);
    expect(stranger).toMatchObject({ code: Code.ResourceExhausted });
    expect((await anyone.login({ email, password: PASSWORD }, from(home))).user?.email).toBe(email);
  });

  it("gets at most 20 hashes a minute for failures of one address, over any accounts", async () => {
    const ip = freshIp();
    const startMs = performance.now();
    const guessed = await guess(processes, () => ({ email: freshEmail(), ip }));
    expect(performance.now() - startMs).toBeLessThan(60_000);
    expect(guessed.hashes).toBe(guessed.said.Unauthenticated);
    expect(guessed.hashes).toBeGreaterThan(10);
    expect(guessed.hashes).toBeLessThanOrEqual(MAX_FAILURES_PER_MINUTE);
  });

  it("would get more if attempts were counted after they were judged: the control", async () => {
    const mutants = await Promise.all([1, 2, 3].map(() => startService(env, withFault(COUNTED_AFTER))));
    try {
      // Each attempt beyond the bound was refused, but cost a hash. A busy machine may judge one after the other.
      const hashesBeyondBound = async (attemptsOf: () => () => { email: string; ip: string }) => {
        for (let round = 1; round <= 4; round++) {
          const { hashes, said } = await guess(mutants, attemptsOf());
          if (hashes > said.Unauthenticated!) return hashes - said.Unauthenticated!;
        }
        return 0;
      };
      const ofAddress = await hashesBeyondBound(() => {
        const ip = freshIp();
        return () => ({ email: freshEmail(), ip });
      });
      const ofAccount = await hashesBeyondBound(() => {
        const email = freshEmail();
        return () => ({ email, ip: freshIp() });
      });
      expect(Math.min(ofAddress, ofAccount)).toBeGreaterThan(0);
    } finally {
      await Promise.all(mutants.map((mutant) => mutant.stop()));
    }
  });
});
