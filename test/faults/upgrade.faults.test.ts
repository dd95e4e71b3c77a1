/** An upgrade and its rollback: the previous version and this one side by side, under load. Real processes. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { AuthService } from "../../src/gen/latchkey/v1/auth_service_pb.ts";
import { KeyService, Verdict } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { freePort } from "../support/child-process.ts";
import { clientOf, PASSWORD } from "../support/clients.ts";
import { sql } from "../support/own-postgres.ts";
import { checkOut, currentMigrations, previousVersion } from "../support/previous-version.ts";
import { runCli } from "../support/run-cli.ts";
import { canStart, freshPostgres, freshRedis } from "../support/shared-servers.ts";
import { bootstrapOperator, type Cast, castAt, serviceEnvironment, startService } from "../support/spawned-service.ts";
import { goesOn, type Load, load, moving } from "../support/steady-load.ts";
import { until } from "../support/until.ts";

/** Maximum delay until a process refuses a key that another one has revoked. */
const SEEN_MS = 5000;
const SETTINGS = {
  LATCHKEY_KEYS_PER_OWNER: "100000",
  LATCHKEY_REPLICAS: "2",
  // Logins must not be shed because the machine is busy.
  LATCHKEY_ARGON2_MEMORY_KIB: "1024",
  LATCHKEY_ARGON2_PASSES: "1",
};
const EMAIL = "ada@example.com";

const previous = previousVersion();
if (previous === undefined) {
  process.stderr.write("SKIPPED: the upgrade from the previous version; it needs the repository's history\n");
}

describe.skipIf(!canStart("postgres") || !canStart("redis") || previous === undefined)("an upgrade", () => {
  let sources: ReturnType<typeof checkOut>;
  let env: NodeJS.ProcessEnv;
  let addresses: readonly [before: string, after: string];
  let cast: Cast;

  beforeEach(async () => {
    sources = checkOut(previous!);
    const servers = { DATABASE_URL: await freshPostgres(), REDIS_URL: await freshRedis() };
    env = serviceEnvironment({ ...servers, ...SETTINGS });
    addresses = [`127.0.0.1:${await freePort()}`, `127.0.0.1:${await freePort()}`];
  });
  afterEach(() => sources?.[Symbol.dispose]());

  const start = (version: "previous" | "this") => {
    const [address, root] = version === "previous" ? [addresses[0], sources.folder] : [addresses[1], "."];
    return startService({ ...env, LATCHKEY_LISTEN: address }, [], root);
  };
  const applied = async () =>
    (await sql(env.DATABASE_URL!, "select name from mikro_orm_migrations order by name")).split("\n");

  it("and its rollback fail no call, while the previous version and this one serve on one schema", async () => {
    const admin = await bootstrapOperator(env, sources.folder);
    const old = await start("previous");
    cast = await castAt(old.address, admin);
    await clientOf(old.address, AuthService).register({ email: EMAIL, password: PASSWORD });
    expect(await applied(), "the previous version has fewer migrations").toEqual(previous!.migrations);
    const loads = await startLoads();

    // The schema first, while the previous version serves.
    await goesOn(loads, 3);
    const migrated = await runCli("migrate", env as Record<string, string>, "--json");
    expect(migrated).toMatchObject({ code: 0 });
    expect(await applied()).toEqual(currentMigrations());
    await goesOn(loads, 3);

    // Then the processes, one after the other.
    const young = await start("this");
    await goesOn(loads, 5);
    await refusesWhatWasRevoked(old.address, young.address);
    await refusesWhatWasRevoked(young.address, old.address);
    old.signal("SIGTERM");
    expect(await old.ended()).toBe(0);
    await goesOn(loads, 3);

    // The rollback: the previous version starts on the newer schema.
    const again = await start("previous");
    await goesOn(loads, 5);
    await refusesWhatWasRevoked(young.address, again.address);
    young.signal("SIGTERM");
    expect(await young.ended()).toBe(0);
    await goesOn(loads, 3);

    await Promise.all(loads.map((each) => each.stop()));
    process.stderr.write(`      rounds of calls: ${loads.map(({ calls }) => calls()).join(", ")}\n`);
    expect(loads.flatMap(({ failures }) => failures.map(String))).toEqual([]);
    // The control: a client that knows only the process that has ended does fail.
    const client = clientOf(young.address, KeyService, cast.verifier);
    await expect(client.verifyKey({ apiKey: "kit_live_x" })).rejects.toThrow("ECONNREFUSED");
    await again.stop();
  });

  /** VerifyKey of a hot key; a key from IssueKey to RevokeKey; a session from Login to Logout. */
  async function startLoads(): Promise<readonly Load[]> {
    const at = moving(addresses);
    const [hot] = await cast.issue(1);
    const keys = clients(KeyService, cast.ownerToken);
    const judges = clients(KeyService, cast.verifier);
    const people = clients(AuthService);
    const verify = async (apiKey: string) => {
      const { verdict } = await at((address) => judges(address).verifyKey({ apiKey }));
      expect(verdict).toBe(Verdict.VALID);
    };
    const lifeOfAKey = async () => {
      const { key, apiKey } = await at((address) => keys(address).issueKey({ name: "under load" }));
      await verify(apiKey);
      await at((address) => keys(address).revokeKey({ keyId: key!.id }));
    };
    const lifeOfASession = async () => {
      const { tokens } = await at((address) => people(address).login({ email: EMAIL, password: PASSWORD }));
      let { refreshToken } = tokens!;
      for (let n = 0; n < 3; n++) {
        const request = { refreshToken };
        refreshToken = (await at((address) => people(address).refresh(request))).tokens!.refreshToken;
      }
      await at((address) => people(address).logout({ refreshToken }));
    };
    return [load(() => verify(hot!.raw), 4, 20), load(lifeOfAKey, 2, 300), load(lifeOfASession, 1, 300)];
  }

  /** A key that one process revokes is refused by the other, which had it in memory. */
  async function refusesWhatWasRevoked(by: string, at: string): Promise<void> {
    const { key, apiKey } = await clientOf(by, KeyService, cast.ownerToken).issueKey({ name: "to revoke" });
    const judge = clientOf(at, KeyService, cast.verifier);
    const ask = async () => (await judge.verifyKey({ apiKey })).verdict;
    expect(await ask()).toBe(Verdict.VALID);
    await clientOf(by, KeyService, cast.ownerToken).revokeKey({ keyId: key!.id });
    const revokedAtMs = performance.now();
    await until(async () => (await ask()) === Verdict.REVOKED, "the other process refuses the key");
    expect(performance.now() - revokedAtMs).toBeLessThan(SEEN_MS);
  }
});

/** One client for each address, so that its calls share a connection. */
function clients<S extends Parameters<typeof clientOf>[1]>(service: S, credential?: string) {
  const made = new Map<string, ReturnType<typeof clientOf<S>>>();
  return (address: string) => {
    const known = made.get(address) ?? clientOf(address, service, credential);
    made.set(address, known);
    return known;
  };
}
