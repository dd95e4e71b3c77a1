/** A standby in the primary's place: none of its data reaches a caller. Real processes. */
import { Code, ConnectError } from "@connectrpc/connect";
import { describe, expect, it } from "vitest";
import { AuthService } from "../../src/gen/latchkey/v1/auth_service_pb.ts";
import { KeyService } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { startFleet } from "../support/fleet.ts";
import { clientOf, PASSWORD } from "../support/in-process-service.ts";
import { answerTo } from "../support/measurements.ts";
import { demote, startPostgres } from "../support/own-postgres.ts";
import { canStart } from "../support/shared-servers.ts";
import { bootstrapOperator, type IssuedKey, serviceEnvironment, spawnService } from "../support/spawned-service.ts";
import { until } from "../support/until.ts";

/** The longest time until a breaker closes and a lost connection is made again. */
const BACK_WITHIN_MS = 3000;

describe.skipIf(!canStart("postgres"))("a standby in the primary's place", () => {
  it("counts as unreachable until its promotion: records not in memory are UNAVAILABLE, never INVALID or UNAUTHENTICATED", async () => {
    await using postgres = await startPostgres();
    await using fleet = await startFleet({ DATABASE_URL: postgres.url() });
    const { service } = fleet;
    const cast = await fleet.cast();
    const [hot, cold, gone] = await cast.issue(3);
    const verifier = clientOf(service.address, KeyService, cast.verifier);
    const ask = (key: IssuedKey) => answerTo(() => verifier.verifyKey({ apiKey: key.raw, cost: 0 }));
    expect((await ask(hot!)).said).toBe("VALID");
    // A session that no call has used yet, and a key that only the primary had.
    const person = { email: "somebody@example.com", password: PASSWORD };
    const { tokens } = await clientOf(service.address, AuthService).register(person);
    const itself = clientOf(service.address, AuthService, tokens!.accessToken);
    await postgres.sql(`delete from key_secrets where key_id = '${gone!.id}'`);

    await demote(postgres);
    // The fault happened, and the control: this server answers a client that does not check what it is.
    expect(await postgres.sql("select pg_is_in_recovery()")).toBe("t");
    const known = `select key_id from key_secrets where key_id in ('${cold!.id}', '${gone!.id}')`;
    expect(await postgres.sql(known)).toBe(cold!.id);
    for (let round = 0; round < 20; round++) {
      expect((await ask(cold!)).said).toBe("Unavailable");
      expect((await ask(gone!)).said).toBe("Unavailable");
      expect(["VALID", "Unavailable"]).toContain((await ask(hot!)).said);
      expect(await itself.getCurrentUser({}).catch(ConnectError.from)).toMatchObject({ code: Code.Unavailable });
    }
    const management = clientOf(service.address, KeyService, cast.admin);
    expect(await management.getKey({ keyId: cold!.id }).catch(ConnectError.from)).toMatchObject({
      code: Code.Unavailable,
    });

    await postgres.sql("select pg_promote()");
    await expect.poll(async () => (await ask(cold!)).said, { timeout: BACK_WITHIN_MS }).toBe("VALID");
    expect((await ask(gone!)).said).toBe("INVALID");
    await expect
      .poll(() => itself.getCurrentUser({}).then(({ user }) => user?.email), { timeout: BACK_WITHIN_MS })
      .toBe(person.email);
    expect((await management.getKey({ keyId: cold!.id })).key?.id).toBe(cold!.id);
  });

  it("makes a process that starts wait, and be ready soon after the promotion", async () => {
    await using postgres = await startPostgres();
    const env = serviceEnvironment({ DATABASE_URL: postgres.url() });
    await bootstrapOperator(env);
    await demote(postgres);
    await using service = spawnService(env);
    await until(async () => service.output().includes("trying again"), "it has found a standby");
    expect(service.output()).toContain('"code":"25006"');
    await postgres.sql("select pg_promote()");
    expect(await service.ready()).toMatch(/^127\.0\.0\.1:\d+$/);
  });
});
