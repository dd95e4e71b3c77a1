/** Several workers behind one port: stopped by any signal, killed, and replaced while the database refuses. */
import { create, toBinary } from "@bufbuild/protobuf";
import { beforeAll, describe, expect, it } from "vitest";
import { KeyService, VerifyKeyRequestSchema } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { childrenOf, freePort, isDead } from "../support/child-process.ts";
import { clientOf } from "../support/in-process-service.ts";
import { answerTo, tally } from "../support/measurements.ts";
import { OpenCall } from "../support/open-call.ts";
import { startPostgres } from "../support/own-postgres.ts";
import { canStart, freshPostgres, freshRedis } from "../support/shared-servers.ts";
import {
  bootstrapOperator,
  type Cast,
  castAt,
  type IssuedKey,
  type SpawnedService,
  serviceEnvironment,
  spawnService,
} from "../support/spawned-service.ts";
import { until } from "../support/until.ts";

const WORKERS = 2;
const EXIT_WITHIN_MS = 15_000;
const CALLS_IN_FLIGHT = 16;

describe.skipIf(!canStart("postgres") || !canStart("redis"))("a service of two workers", () => {
  let env: NodeJS.ProcessEnv;
  let cast: Cast;
  let key: IssuedKey;

  beforeAll(async () => {
    env = serviceEnvironment({
      DATABASE_URL: await freshPostgres(),
      REDIS_URL: await freshRedis(),
      LATCHKEY_WORKERS: `${WORKERS}`,
      LATCHKEY_DRAIN_SECONDS: "10",
    });
    const admin = await bootstrapOperator(env);
    await using service = spawnService(env);
    cast = await castAt(await service.ready(), admin);
    [key] = (await cast.issue(1)) as [IssuedKey];
  });

  // A worker that is ending may never answer a new connection, so each call has a timeout.
  const ask = (address: string) =>
    answerTo(() => clientOf(address, KeyService, cast.verifier).verifyKey({ apiKey: key.raw }, { timeoutMs: 2000 }));
  const spawnAtOwnPort = async () => spawnService({ ...env, LATCHKEY_LISTEN: `127.0.0.1:${await freePort()}` });

  /** Opens calls and sends a part of each, on connections of their own, so that every worker has some. */
  async function callsInFlight(address: string): Promise<readonly OpenCall[]> {
    const bytes = toBinary(VerifyKeyRequestSchema, create(VerifyKeyRequestSchema, { apiKey: key.raw }));
    const headers = { authorization: `Bearer ${cast.verifier}` };
    const open = () => new OpenCall(address, "latchkey.v1.KeyService/VerifyKey", bytes, headers);
    const calls = Array.from({ length: CALLS_IN_FLIGHT }, open);
    await Promise.all(calls.map((call) => call.begun()));
    return calls;
  }

  it.each<[who: string, whom: "first" | "all"]>([
    ["the first process alone", "first"],
    ["all processes, as Ctrl-C and systemd do", "all"],
  ])("that is stopped by a signal to %s completes every call in flight, and exits with 0", async (_, whom) => {
    await using service = await spawnAtOwnPort();
    const address = await service.ready();
    const workers = await readyWorkers(service, WORKERS);
    const calls = await callsInFlight(address);
    const signalledAtMs = performance.now();
    if (whom === "all") {
      for (const pid of workers) process.kill(pid, "SIGTERM");
      // The workers first, because two signals could merge while the first one waits.
      await until(async () => stopping(service) === WORKERS, "the workers have heard of it");
    }
    service.signal("SIGTERM");
    // The fault happened: each process has its signal, and waits for its calls.
    await until(async () => stopping(service) === WORKERS + 1, "all of them are stopping");
    await until(async () => (await ask(address)).said === "Unavailable", "nobody new is let in");
    expect(workers.map(isDead)).toEqual([false, false]);
    for (const call of calls) call.finish();
    expect(await Promise.all(calls.map((call) => call.outcome))).toEqual(calls.map(() => "0"));
    expect(await service.ended()).toBe(0);
    expect(performance.now() - signalledAtMs).toBeLessThan(EXIT_WITHIN_MS);
    expect(workers.map(isDead)).toEqual([true, true]);
  });

  it("ends at a second signal to the first process, even with calls in flight", async () => {
    await using service = spawnService(env);
    const address = await service.ready();
    const workers = await readyWorkers(service, WORKERS);
    const calls = await callsInFlight(address);
    service.signal("SIGTERM");
    await until(async () => stopping(service) === WORKERS + 1, "all of them are stopping");
    // Signals within a second count as one. The first later one forces the end.
    const again = setInterval(() => service.signal("SIGTERM"), 100);
    const code = await service.ended();
    clearInterval(again);
    expect(code).toBe(1);
    await until(async () => workers.every(isDead), "the workers are gone");
    // The control of the tests above: these calls were really in flight.
    expect(new Set(await Promise.all(calls.map((call) => call.outcome)))).toEqual(new Set(["cut"]));
  });

  it("replaces killed workers, even if none was left", async () => {
    await using service = await spawnAtOwnPort();
    const address = await service.ready();
    const workers = await readyWorkers(service, WORKERS);
    for (const pid of workers) process.kill(pid, "SIGKILL");
    await until(async () => workers.every(isDead), "nobody is left");
    expect((await ask(address)).said).toMatch(/Unavailable|DeadlineExceeded|Aborted/);
    const others = (await readyWorkers(service, 2 * WORKERS)).slice(WORKERS);
    expect(others.filter((pid) => workers.includes(pid))).toEqual([]);
    expect([...childrenOf(service.pid)].sort()).toEqual([...others].sort());
    expect(tally(await Promise.all(Array.from({ length: 10 }, () => ask(address))))).toEqual({ VALID: 10 });
    service.signal("SIGTERM");
    expect(await service.ended()).toBe(0);
  });

  it("serves with one worker while a killed one can't start again, and with both as soon as it can", async () => {
    await using postgres = await startPostgres();
    const role = new URL(postgres.url());
    role.username = "service";
    await postgres.sql(`create role service superuser login password '${role.password}'`);
    const own = { ...env, DATABASE_URL: role.href };
    const admin = await bootstrapOperator(own);
    await using service = spawnService(own);
    const address = await service.ready();
    const [killed, left] = (await readyWorkers(service, WORKERS)) as [number, number];
    const there = await castAt(address, admin);
    const [known] = (await there.issue(1)) as [IssuedKey];
    const client = () => clientOf(address, KeyService, there.verifier);
    const askThere = () => answerTo(() => client().verifyKey({ apiKey: known.raw }));
    await postgres.sql("alter role service nologin");
    process.kill(killed, "SIGKILL");
    await until(async () => count(service, "the service could not start") >= 2, "its successors could not start");
    expect(isDead(left)).toBe(false);
    expect(tally(await Promise.all(Array.from({ length: 10 }, askThere)))).toEqual({ VALID: 10 });
    // Each new start waits longer than the last.
    const waits = [...service.output().matchAll(/"after_ms":(\d+)/g)].map(([, ms]) => Number(ms));
    expect(waits.slice(0, 3)).toEqual([1000, 2000, 4000]);
    await postgres.sql("alter role service login");
    await readyWorkers(service, WORKERS + 1);
    expect(childrenOf(service.pid)).toHaveLength(WORKERS);
    service.signal("SIGTERM");
    expect(await service.ended()).toBe(0);
  });
});

/** Pids of the workers that have said that they are ready, as soon as there are `count` of them. */
async function readyWorkers(service: SpawnedService, count: number): Promise<readonly number[]> {
  const pids = () =>
    service
      .output()
      .split("\n")
      .filter((line) => line.includes("latchkey is ready"))
      .map((line) => (JSON.parse(line) as { pid: number }).pid);
  await until(async () => pids().length >= count, `${count} workers have been ready`);
  return pids();
}

function stopping(service: SpawnedService): number {
  return count(service, '"msg":"stopping');
}

function count(service: SpawnedService, text: string): number {
  return service.output().split(text).length - 1;
}
