/** A rolling restart: real processes restart one after the other while clients call them, and no call fails. */

import { connect } from "node:http2";
import { setTimeout as pause } from "node:timers/promises";
import { Code } from "@connectrpc/connect";
import { credentials, Client as GrpcClient } from "@grpc/grpc-js";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { KeyService, Verdict } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { freePort } from "../support/child-process.ts";
import { callGrpc } from "../support/front-door.ts";
import { clientOf } from "../support/in-process-service.ts";
import { canStart, freshPostgres, freshRedis } from "../support/shared-servers.ts";
import {
  bootstrapOperator,
  type Cast,
  castAt,
  type IssuedKey,
  type ReadyService,
  serviceEnvironment,
  spawnService,
  startService,
} from "../support/spawned-service.ts";
import { goesOn, type Load, moving, load as steadyLoad } from "../support/steady-load.ts";

const EXIT_WITHIN_MS = 15_000;
/** A drain that is longer than the test. */
const LONG_DRAIN_SECONDS = 60;
const CALLERS = 16;

describe.skipIf(!canStart("postgres") || !canStart("redis"))("processes of one service", () => {
  let env: NodeJS.ProcessEnv;
  let ports: readonly number[];
  let processes: ReadyService[] = [];
  let cast: Cast;
  let key: IssuedKey;
  const startAt = (port: number) => startService({ ...env, LATCHKEY_LISTEN: `127.0.0.1:${port}` });

  beforeAll(async () => {
    env = serviceEnvironment({
      DATABASE_URL: await freshPostgres(),
      REDIS_URL: await freshRedis(),
      LATCHKEY_REPLICAS: "3",
      // The default drain, which operators have; other tests set a shorter one.
      LATCHKEY_DRAIN_SECONDS: "10",
    });
    const admin = await bootstrapOperator(env);
    ports = [await freePort(), await freePort(), await freePort()];
    processes = await Promise.all(ports.map(startAt));
    cast = await castAt(processes[0]!.address, admin);
    [key] = (await cast.issue(1)) as [IssuedKey];
  });
  afterAll(() => Promise.all(processes.map((process) => process.stop())));

  it("restart one after the other, each with exit code 0 within 15 s, and no call of a client that honours GOAWAY fails", async () => {
    const grpc = new GrpcClient(
      `ipv4:${ports.map((port) => `127.0.0.1:${port}`).join(",")}`,
      credentials.createInsecure(),
      {
        "grpc.service_config": JSON.stringify({ loadBalancingConfig: [{ round_robin: {} }] }),
        "grpc.initial_reconnect_backoff_ms": 100,
      },
    );
    const request = { apiKey: key.raw };
    const loads = [
      load(() => callGrpc(grpc, KeyService.method.verifyKey, request, { credential: cast.verifier })),
      load(movingCalls(ports, cast.verifier, request)),
    ];
    // The control: a client that stays with its process fails as soon as the process has ended.
    const loyal = clientOf(processes[0]!.address, KeyService, cast.verifier);
    const staying = load(() => loyal.verifyKey(request));
    const watching = clientOf(processes[0]!.address, KeyService, cast.verifier).watchRevocations({});
    const watched = watching[Symbol.asyncIterator]();
    await watched.next();
    const pids = processes.map(({ pid }) => pid);
    for (const [n, port] of ports.entries()) {
      await goesOn(loads, 200);
      const going = processes[n]!;
      const signalledAtMs = performance.now();
      going.signal("SIGTERM");
      expect(await going.ended()).toBe(0);
      expect(performance.now() - signalledAtMs).toBeLessThan(EXIT_WITHIN_MS);
      process.stderr.write(`      gone after ${(performance.now() - signalledAtMs).toFixed(0)} ms\n`);
      await goesOn(loads, 200);
      processes[n] = await startAt(port);
    }
    await goesOn(loads, 200);
    expect(processes.map(({ pid }) => pid).filter((pid) => pids.includes(pid))).toEqual([]);
    // The stream has some messages that were not read yet, and then its end.
    const ending = (async () => {
      while (!(await watched.next()).done);
    })();
    await expect(ending).rejects.toMatchObject({ code: Code.Unavailable });
    await Promise.all([...loads, staying].map((each) => each.stop()));
    grpc.close();
    process.stderr.write(`      calls: ${loads.map(({ calls }) => calls()).join(" by grpc-js, ")} by connect\n`);
    for (const { failures } of loads) expect(failures).toEqual([]);
    expect(staying.failures.length).toBeGreaterThan(0);
  });

  it("wait for a call in flight while they drain, and end at a second SIGTERM", async () => {
    const going = spawnService({ ...env, LATCHKEY_DRAIN_SECONDS: `${LONG_DRAIN_SECONDS}` });
    const session = connect(`http://${await going.ready()}`);
    session.on("error", () => {});
    const stream = session.request({
      ":method": "POST",
      ":path": "/latchkey.v1.KeyService/VerifyKey",
      "content-type": "application/grpc",
      authorization: `Bearer ${cast.verifier}`,
    });
    stream.on("error", () => {});
    // A part of a message begins the call and leaves it open.
    await new Promise<void>((resolve) => stream.write(Buffer.from([0, 0, 0]), () => resolve()));
    await new Promise<void>((resolve) => session.ping(() => resolve()));
    going.signal("SIGTERM");
    await expect.poll(() => going.output()).toContain("stopping; a second signal forces");
    // The control: after one signal the process waits.
    expect(await Promise.race([going.ended(), pause(2000, "waits")])).toBe("waits");
    const signalledAtMs = performance.now();
    going.signal("SIGTERM");
    expect(await going.ended()).toBe(1);
    expect(performance.now() - signalledAtMs).toBeLessThan(2000);
    session.destroy();
  });
});

/** A load of which a verdict that is not VALID is a failure too. */
function load(call: () => Promise<{ readonly verdict: Verdict }>): Load {
  const judged = async () => expect((await call()).verdict).toBe(Verdict.VALID);
  return steadyLoad(judged, CALLERS, 5);
}

function movingCalls(ports: readonly number[], credential: string, request: { readonly apiKey: string }) {
  const addresses = ports.map((port) => `127.0.0.1:${port}`);
  const clients = new Map(addresses.map((address) => [address, clientOf(address, KeyService, credential)]));
  const move = moving(addresses);
  return () => move((address) => clients.get(address)!.verifyKey(request));
}
