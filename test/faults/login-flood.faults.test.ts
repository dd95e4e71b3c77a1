/** A stranger that takes all password hashes while people log in. A real process on real PostgreSQL. */
import { Code, ConnectError } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { AuthService } from "../../src/gen/latchkey/v1/auth_service_pb.ts";
import { type AuthFlood, type FloodTally, startFlood } from "../support/auth-flood.ts";
import { clientOf, PASSWORD } from "../support/in-process-service.ts";
import { report } from "../support/measurements.ts";
import { withFault } from "../support/mutant-process.ts";
import { canStart, freshPostgres } from "../support/shared-servers.ts";
import { bootstrapOperator, type ReadyService, serviceEnvironment, startService } from "../support/spawned-service.ts";
import { letPass, until } from "../support/until.ts";

const PEOPLE = 13;
const EACH_MS = 200;
/** Calls of the flood that are answered before people begin. */
const WARM = 120;
/** A busy machine refuses a login now and then. The harm of an attack comes in every attempt. */
const ATTEMPTS = 4;
/** The lowest rate in calls a second, for a machine that has hardly any time for this test. */
const LEAST_RATE = 100;

type Attack = Omit<AuthFlood, "address">;

interface Person {
  readonly email: string;
  readonly ip: string;
}

const ATTACKS: readonly Attack[] = [
  { what: "logins to any account", from: "one /48", perSecond: 2000 },
  { what: "logins to one account", from: "one address", perSecond: 2000 },
  { what: "logins to any account", from: "one address", perSecond: 2000 },
  { what: "reset tokens", from: "one address", perSecond: 2000 },
];

/** Each of the defences alone would be enough. Without all of them the callers share one queue. */
const DEFENCELESS = [
  {
    file: "src/auth/throttle/login-attempt.ts",
    search: "this.networks = networksOf(clientIp);",
    replacement: 'this.networks = networksOf("everyone");',
  },
  {
    file: "src/auth/throttle/login-attempt.ts",
    search: "networks: countedNetworks(clientIp, hashesPerAddress),",
    replacement: "networks: [],",
  },
  {
    file: "src/auth/throttle/known-waits.ts",
    search: "if (wait === undefined || nowMs >= wait.untilMs) return undefined;",
    replacement: "if (nowMs >= 0 || wait === undefined) return undefined;",
  },
  // Known callers have turns of their own, whatever strangers do.
  {
    file: "src/auth/passwords/hash-turns.ts",
    search: '[isKnown ? "known" : "stranger", ...networks]',
    replacement: '[isKnown ? "stranger" : "stranger", ...networks]',
  },
];

describe.skipIf(!canStart("postgres"))("people who log in while a stranger floods", () => {
  let env: NodeJS.ProcessEnv;
  beforeAll(async () => {
    env = serviceEnvironment({
      DATABASE_URL: await freshPostgres(),
      LATCHKEY_TRUSTED_PROXIES: "127.0.0.0/8",
      LATCHKEY_HASHES_PER_ADDRESS: "30",
      // A busy machine must make the hashes of people within 500 ms. The test is about the order of turns.
      LATCHKEY_ARGON2_MEMORY_KIB: "4096",
      LATCHKEY_ARGON2_PASSES: "1",
    });
    await bootstrapOperator(env);
  });

  let networks = 0;
  const from = (ip: string) => ({ headers: { "x-forwarded-for": ip } });

  /** Registers people, each in a home network of their own. */
  async function people(service: ReadyService): Promise<readonly Person[]> {
    const client = clientOf(service.address, AuthService);
    const registered: Person[] = [];
    for (let n = 0; n < PEOPLE; n++) {
      const person = { email: `honest-${++networks}@example.com`, ip: `10.${networks >> 8}.${networks & 255}.1` };
      await until(
        () => isDone(client.register({ email: person.email, password: PASSWORD }, from(person.ip))),
        "registered",
      );
      registered.push(person);
    }
    return registered;
  }

  /** The number of refused logins. Every second one comes from home, the others from networks never seen before. */
  async function refusedLogins(service: ReadyService, homes: readonly Person[], what: string): Promise<number> {
    const client = clientOf(service.address, AuthService);
    const tookMs: number[] = [];
    const logIn = async (email: string, ip: string) => {
      const startMs = performance.now();
      const isRefused = await client.login({ email, password: PASSWORD }, from(ip)).then(
        () => false,
        (error: unknown) => ConnectError.from(error).code === Code.ResourceExhausted || Promise.reject(error),
      );
      tookMs.push(performance.now() - startMs);
      return isRefused;
    };
    const ends: Promise<boolean>[] = [];
    for (const [n, { email, ip }] of homes.entries()) {
      ends.push(logIn(email, n % 2 === 0 ? ip : `10.200.${++networks & 255}.9`));
      await letPass(EACH_MS, "people log in at a steady pace");
    }
    const refused = (await Promise.all(ends)).filter((isRefused) => isRefused).length;
    report(`logins beside ${what}, ${refused} of ${PEOPLE} refused`, tookMs);
    return refused;
  }

  async function refusedBeside(service: ReadyService, attack: Attack): Promise<number> {
    const homes = await people(service);
    const flood = startFlood({ address: service.address, ...attack });
    try {
      await until(async () => total(flood.latest()) > WARM, "the flood runs");
      return await refusedLogins(service, homes, `${attack.what} from ${attack.from}`);
    } finally {
      const tally = await flood.stop();
      process.stderr.write(`      the flood: ${JSON.stringify(tally)}\n`);
      expect(total(tally)).toBeGreaterThan(2 * WARM);
    }
  }

  /**
   * The highest rate, at most the attack's, at which calls without a hash harm no login. Beyond it people wait for the
   * machine's processors, whatever the calls are.
   */
  async function harmlessRate(service: ReadyService, attack: Attack): Promise<number> {
    for (let { perSecond } = attack; perSecond > LEAST_RATE; perSecond /= 2) {
      if ((await refusedBeside(service, { ...attack, what: "malformed logins", perSecond })) === 0) return perSecond;
    }
    return LEAST_RATE;
  }

  describe("in a process as it is", () => {
    let service: ReadyService;
    beforeAll(async () => {
      service = await startService(env);
    });
    afterAll(() => service?.[Symbol.asyncDispose]());

    it.each(ATTACKS)("are never refused during $what from $from, $perSecond a second", async (attack) => {
      for (let attempt = 1; ; attempt++) {
        const perSecond = await harmlessRate(service, attack);
        const refused = await refusedBeside(service, { ...attack, perSecond });
        if (refused === 0) return;
        expect(attempt, `${refused} refused at ${perSecond} a second`).toBeLessThan(ATTEMPTS);
      }
    });
  });

  it("are often refused if all callers share one queue: the control", async () => {
    await using service = await startService(env, DEFENCELESS.flatMap(withFault));
    for (const attack of ATTACKS) {
      expect(await refusedBeside(service, attack), JSON.stringify(attack)).toBeGreaterThan(PEOPLE / 4);
    }
  });
});

/** Whether a call succeeded. The test repeats a call that found the service full. */
function isDone(call: Promise<unknown>): Promise<boolean> {
  return call.then(
    () => true,
    (error: unknown) => (ConnectError.from(error).code === Code.ResourceExhausted ? false : Promise.reject(error)),
  );
}

function total(tally: FloodTally): number {
  return Object.values(tally).reduce((sum, each) => sum + each, 0);
}
