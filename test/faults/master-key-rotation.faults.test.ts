/** The replacement of a master key in three processes under load, as docs/OPERATIONS.md says, and done wrong. */
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { Code, ConnectError } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { AdminService } from "../../src/gen/latchkey/v1/admin_service_pb.ts";
import { AuthService } from "../../src/gen/latchkey/v1/auth_service_pb.ts";
import { KeyService } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { clientOf, PASSWORD } from "../support/in-process-service.ts";
import { type Answer, answerTo, report, tally } from "../support/measurements.ts";
import { type PostgresServer, startPostgres } from "../support/own-postgres.ts";
import { canStart } from "../support/shared-servers.ts";
import {
  bootstrapOperator,
  castAt,
  type IssuedKey,
  type ReadyService,
  serviceEnvironment,
  startService,
} from "../support/spawned-service.ts";
import { letPass, until } from "../support/until.ts";

const PROCESSES = 3;
/** Number of askers. Each calls one process, one call after the other with a pause between. */
const ASKERS = 6;
const PAUSE_MS = 15;
/** The log line of a call whose master key the process lacks. The warning at the start has no `needed_by`. */
const ALARM = /"needed_by":"[^"]+".*LATCHKEY_MASTER_KEYS lacks a version that stored data needs/;

const newKey = (version: number) => `${version}:${randomBytes(32).toString("base64")}`;

/** The report of `npm run --silent master-keys -- --json` about one version. */
interface Standing {
  readonly may_be_removed: boolean;
  readonly uses: readonly { readonly use: string; readonly count: number }[];
  readonly reasons: readonly string[];
}

describe.skipIf(!canStart("postgres"))("a master key", () => {
  let postgres: PostgresServer;
  beforeAll(async () => {
    postgres = await startPostgres();
  });
  afterAll(() => postgres?.stop());

  /** Starts processes on a database of their own, each with a key ring that a restart can change. */
  async function startRings(name: string, ...rings: string[]) {
    const url = await postgres.createDatabase(name);
    const base = serviceEnvironment({ DATABASE_URL: url, LATCHKEY_KEYS_PER_OWNER: "1000" });
    const start = (ring: string) => startService({ ...base, LATCHKEY_MASTER_KEYS: ring });
    const admin = await bootstrapOperator({ ...base, LATCHKEY_MASTER_KEYS: rings[0] });
    const slots = await Promise.all(
      rings.map(async (ring) => ({ service: await start(ring), inFlight: new Set<Promise<unknown>>() })),
    );
    const gone: ReadyService[] = [];
    const cast = await castAt(slots[0]!.service.address, admin);
    return {
      name,
      admin,
      cast,
      sql: (text: string) => postgres.sql(text, name),
      address: (slot: number) => slots[slot]!.service.address,
      /** A call to the process that has the place now. A restart waits for the call. */
      async call<T>(slot: number, work: (address: string) => Promise<T>): Promise<T> {
        const { service, inFlight } = slots[slot]!;
        const called = work(service.address);
        inFlight.add(called);
        try {
          return await called;
        } finally {
          inFlight.delete(called);
        }
      },
      /** Puts a new process in the place of another, as a balancer does: it gets no more calls, then SIGTERM. */
      async restart(slot: number, ring: string): Promise<void> {
        const place = slots[slot]!;
        const { service: old } = place;
        place.service = await start(ring);
        await Promise.allSettled(place.inFlight);
        await old.stop();
        gone.push(old);
      },
      /** The output of all processes, including those that have ended. */
      output: () => [...gone, ...slots.map(({ service }) => service)].map((service) => service.output()).join(""),
      async standing(ring: string, version: number): Promise<Standing> {
        const { versions } = JSON.parse(await masterKeys({ ...base, LATCHKEY_MASTER_KEYS: ring }));
        return versions.find((each: { version: number }) => each.version === version);
      },
      async [Symbol.asyncDispose]() {
        await Promise.all(slots.map(({ service }) => service.stop()));
      },
    };
  }
  type Rings = Awaited<ReturnType<typeof startRings>>;

  const ask = (fleet: Rings, slot: number, { raw }: IssuedKey) =>
    fleet.call(slot, (address) =>
      answerTo(() => clientAt(address, fleet.cast.verifier).verifyKey({ apiKey: raw, cost: 0 })),
    );
  /** Repeats the call until it has this answer: on a busy machine a call may be late, but only a missing key stays. */
  async function settled(fleet: Rings, slot: number, key: IssuedKey, said: string): Promise<void> {
    await expect.poll(async () => (await ask(fleet, slot, key)).said, { timeout: 20_000, interval: 50 }).toBe(said);
  }

  it("is replaced in three processes under load, and no key, login or refresh is refused", async () => {
    const [one, two] = [newKey(1), newKey(2)];
    await using fleet = await startRings("rolling", ...Array(PROCESSES).fill(one));
    const keys: IssuedKey[] = [...(await fleet.cast.issue(30))];
    const [idle] = await fleet.cast.issue(1);
    const answers: Answer[] = [];
    const faults: string[] = [];
    const load = startLoad(fleet, keys, answers, faults);
    const operator = () => clientOf(fleet.address(0), AdminService, fleet.admin);
    const roll = async (ring: string) => {
      for (let slot = 0; slot < PROCESSES; slot++) {
        await fleet.restart(slot, ring);
        // Each process issues keys, and the load asks all processes for them immediately.
        for (let maker = 0; maker < PROCESSES; maker++) keys.push(...(await issueAt(fleet, maker)));
      }
    };

    await roll(`${one},${two}`);
    await roll(`${two},${one}`);
    const front = `${two},${one}`;
    const ofKeys = async () =>
      (await fleet.standing(front, 1)).uses.filter(({ use }) => /^(api_key|service_credential)_secrets$/.test(use));
    // A secret that was never used can't move. The report names it, and the operator must replace it.
    await until(async () => JSON.stringify(await ofKeys()).includes('"count":1,'), "all keys in use have moved");
    expect(await ofKeys()).toMatchObject([{ use: "api_key_secrets", count: 1 }]);
    await clientOf(fleet.address(0), KeyService, fleet.admin).revokeKey({ keyId: idle!.id });
    expect(await ofKeys()).toEqual([]);
    const held = await fleet.standing(front, 1);
    expect(held.may_be_removed, "sessions still need it").toBe(false);

    // The same people continue with sessions under the new master key.
    await load.renew();
    for (const { id, email } of (await operator().listUsers({})).users) {
      if (email === load.refreshing) continue;
      await operator().endUserSessions({ userId: id });
      await clientOf(fleet.address(1), AuthService).login({ email, password: PASSWORD });
    }
    expect(await fleet.standing(front, 1)).toMatchObject({ may_be_removed: true, reasons: [] });
    await roll(two);
    const before = answers.length;
    await until(async () => answers.length > before + 500, "all is asked for without the old one");
    await load.stop();

    const tallied = tally(answers);
    report(
      "VerifyKey through a rotation, 3 processes",
      answers.map(({ tookMs }) => tookMs),
    );
    process.stderr.write(
      `      ${JSON.stringify(tallied)}, ${load.counts.refreshes} refreshes, ${load.counts.logins} logins\n`,
    );
    const { VALID = 0, Unavailable = 0, ...refusals } = tallied;
    expect(refusals).toEqual({});
    // A new process on a busy machine may give its first reads up. No version was ever missing.
    expect(Unavailable).toBeLessThan(VALID / 100);
    expect(fleet.output()).not.toMatch(ALARM);
    expect(faults).toEqual([]);
    expect(load.counts.refreshes).toBeGreaterThan(50);
    expect(load.counts.logins).toBeGreaterThan(10);
    // The rotation happened: processes with empty memories moved everything in use.
    expect(
      await fleet.sql(
        "select string_agg(distinct pepper_version::text, ',') from key_secrets s join api_keys k on k.id = s.key_id where k.state = 'active'",
      ),
    ).toBe("2");
    expect(await fleet.sql("select string_agg(distinct seal_version::text, ',') from signing_keys")).toBe("2");
    for (const key of keys) for (let slot = 0; slot < PROCESSES; slot++) await settled(fleet, slot, key, "VALID");
  });

  it("leaves its keys UNAVAILABLE, never INVALID, if it is removed too early, and the start reports their number", async () => {
    const [one, two] = [newKey(1), newKey(2)];
    await using fleet = await startRings("early", one, `${one},${two}`);
    const keys = await fleet.cast.issue(5);
    for (const key of keys) await settled(fleet, 1, key, "VALID");
    const fresh = await startWith(fleet, 1, `${two},${one}`);
    await fleet.restart(1, two);
    const warning = fleet
      .output()
      .split("\n")
      .find((line) => line.includes("lacks a version that stored data needs"));
    expect(JSON.parse(warning ?? "{}")).toMatchObject({ version: 1, api_key_secrets: 5 });
    const answers: Answer[] = [];
    for (let round = 0; round < 10; round++) {
      for (const key of keys) answers.push(await askAs(fleet, 1, key, fresh));
    }
    expect(tally(answers)).toEqual({ Unavailable: 50 });
    expect(fleet.output()).toMatch(ALARM);
    await fleet.restart(1, `${two},${one}`);
    for (const key of keys) await settled(fleet, 1, key, "VALID");
  });

  it("leaves new and moved keys UNAVAILABLE elsewhere, never INVALID, if it is made current before all have it", async () => {
    const [one, two] = [newKey(1), newKey(2)];
    await using fleet = await startRings("hasty", one, one);
    const [kept] = await fleet.cast.issue(1);
    await settled(fleet, 0, kept!, "VALID");
    await fleet.restart(1, `${two},${one}`);
    const [made] = await issueAt(fleet, 1);
    await settled(fleet, 1, made!, "VALID");
    await settled(fleet, 1, kept!, "VALID");
    const answers: Answer[] = [];
    for (let round = 0; round < 20; round++) answers.push(await ask(fleet, 0, made!));
    expect(tally(answers)).toEqual({ Unavailable: 20 });
    // The kept key has moved meanwhile. A process accepts it from memory, but can't judge it after a new read.
    const ofKept = `select pepper_version from key_secrets where key_id = '${kept!.id}'`;
    await until(async () => (await fleet.sql(ofKept)) === "2", "the key in use has moved");
    const ofMoved: Answer[] = [];
    for (let round = 0; round < 20; round++) ofMoved.push(await ask(fleet, 0, kept!));
    const { VALID = 0, Unavailable = 0 } = tally(ofMoved);
    expect(VALID + Unavailable).toBe(20);
    await fleet.restart(0, `${one},${two}`);
    for (const key of [made!, kept!]) await settled(fleet, 0, key, "VALID");
    // The ring there still has the old order, but nothing moves back.
    expect(await fleet.sql(ofKept)).toBe("2");
  });

  it("would make good keys INVALID if its bytes differed (the control), and no start accepts it", async () => {
    const [one, wrong, two] = [newKey(1), newKey(1), newKey(2)];
    await using fleet = await startRings("wrong", one, `${one},${two}`);
    const [key] = await fleet.cast.issue(1);
    const verifier = await startWith(fleet, 1, `${two},${one}`);
    await expect(fleet.restart(1, `${two},${wrong}`)).rejects.toThrow("version 1 has other bytes");
    await fleet.sql("delete from master_key_checks");
    await fleet.restart(1, `${two},${wrong}`);
    expect((await askAs(fleet, 1, key!, verifier)).said).toBe("INVALID");
  });

  /** Restarts a process with this ring, and issues a verifying credential under the ring's first master key. */
  async function startWith(fleet: Rings, slot: number, ring: string): Promise<string> {
    await fleet.restart(slot, ring);
    const operator = clientOf(fleet.address(slot), AdminService, fleet.admin);
    return (await operator.issueServiceCredential({ name: "newer", scopes: ["verify"] })).secret;
  }

  const askAs = (fleet: Rings, slot: number, { raw }: IssuedKey, credential: string) =>
    answerTo(() => clientAt(fleet.address(slot), credential).verifyKey({ apiKey: raw, cost: 0 }));

  /** Issues keys at the process in this place. */
  async function issueAt(fleet: Rings, slot: number): Promise<readonly IssuedKey[]> {
    const ownerId = await fleet.sql("select id from users order by created_at limit 1");
    const management = clientOf(fleet.address(slot), KeyService, fleet.admin);
    const keys: IssuedKey[] = [];
    while (keys.length < 2) {
      const issued = await insist(() => management.issueKey({ name: "a key", ownerId }));
      keys.push({ id: issued.key!.id, raw: issued.apiKey });
    }
    return keys;
  }

  /** Starts the load: VerifyKey of all keys at all processes, logins, and refreshes at one process after the other. */
  function startLoad(fleet: Rings, keys: readonly IssuedKey[], answers: Answer[], faults: string[]) {
    const [refreshing, loggingIn] = [1, 2].map(() => `${randomBytes(6).toString("hex")}@example.com`) as [
      string,
      string,
    ];
    const counts = { logins: 0, refreshes: 0 };
    let isOver = false;
    let renewal: PromiseWithResolvers<void> | undefined;
    let turn = 0;
    /** Calls each process in turn. Every error except UNAVAILABLE is a fault. */
    function people<T>(call: (client: ReturnType<typeof clientOf<typeof AuthService>>) => Promise<T>): Promise<T> {
      const onFault = (message: string) => faults.push(message);
      return insist(() => fleet.call(turn++ % PROCESSES, (address) => call(clientOf(address, AuthService))), onFault);
    }
    const login = (email: string) => people((client) => client.login({ email, password: PASSWORD }));

    async function askAll(asker: number): Promise<void> {
      for (let n = asker; !isOver; n++) {
        answers.push(await ask(fleet, asker % PROCESSES, keys[n % keys.length]!));
        await letPass(PAUSE_MS, "calls come at a steady pace");
      }
    }
    async function refreshAll(): Promise<void> {
      let { tokens } = await people((client) => client.register({ email: refreshing, password: PASSWORD }));
      while (!isOver) {
        const { refreshToken } = tokens!;
        ({ tokens } = await people((client) => client.refresh({ refreshToken })));
        counts.refreshes++;
        if (renewal !== undefined) {
          await people((client) => client.logout({ refreshToken: tokens!.refreshToken }));
          ({ tokens } = await login(refreshing));
          renewal.resolve();
          renewal = undefined;
        }
        await letPass(50, "renewals come at a steady pace");
      }
    }
    async function loginAll(): Promise<void> {
      await people((client) => client.register({ email: loggingIn, password: PASSWORD }));
      while (!isOver) {
        await login(loggingIn);
        counts.logins++;
        await letPass(500, "logins come at a steady pace");
      }
    }
    const askers = Array.from({ length: ASKERS }, (_, asker) => askAll(asker));
    const running = Promise.all([refreshAll(), loginAll(), ...askers]);
    // `stop` reports a rejection.
    running.catch(() => {});
    return {
      counts,
      refreshing,
      /** Ends the session that the load refreshes, and begins another one in its place. */
      renew(): Promise<void> {
        renewal = Promise.withResolvers<void>();
        return renewal.promise;
      },
      async stop(): Promise<void> {
        isOver = true;
        await running;
      },
    };
  }
});

/** Repeats a call while it is UNAVAILABLE, as any client does. */
async function insist<T>(call: () => Promise<T>, onFault?: (message: string) => void): Promise<T> {
  for (;;) {
    try {
      return await call();
    } catch (error) {
      const { code, message } = ConnectError.from(error);
      if (code !== Code.Unavailable) {
        onFault?.(message);
        throw error;
      }
      await letPass(20, "the process may be restarting: tries again soon");
    }
  }
}

const clients = new Map<string, ReturnType<typeof clientOf<typeof KeyService>>>();
/** A client with one connection for each process and credential, as a service has. */
function clientAt(address: string, credential: string) {
  const id = `${address} ${credential}`;
  if (!clients.has(id)) clients.set(id, clientOf(address, KeyService, credential));
  return clients.get(id)!;
}

async function masterKeys(env: NodeJS.ProcessEnv): Promise<string> {
  const child = spawn(process.execPath, ["src/cli/master-keys.ts", "--json"], { env });
  const output = { stdout: "", stderr: "" };
  for (const name of ["stdout", "stderr"] as const) {
    child[name].on("data", (chunk: Buffer) => {
      output[name] += chunk;
    });
  }
  await once(child, "close");
  if (output.stderr !== "") throw new Error(output.stderr);
  return output.stdout;
}
