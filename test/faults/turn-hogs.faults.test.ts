/**
 * Clients that try to fill the event loop: each sends requests at once that take long to answer. Another client's
 * VerifyKey is hardly slower meanwhile, and no turn of the loop takes long. A turn is judged by the CPU time of the
 * service's thread, because the wall clock also counts what other processes take from the core.
 */

import { once } from "node:events";
import { connect } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { bystanderOf, callSteadily, rssMib } from "../support/bystander.ts";
import { startFleet } from "../support/fleet.ts";
import { type Attack, expectHardlySlowed, MAX_TURN_MS, type Noticed, noticedBeside } from "../support/hardly-slowed.ts";
import { longestTurnMs, TURN_PROBE } from "../support/longest-turn.ts";
import type { Answer } from "../support/measurements.ts";
import { canStart, freshPostgres, freshRedis } from "../support/shared-servers.ts";
import type { ReadyService } from "../support/spawned-service.ts";
import { TURN_ATTACKS } from "../support/turn-attacks.ts";
import { letPass } from "../support/until.ts";

describe.skipIf(!canStart("postgres") || !canStart("redis"))("a client without a credential", () => {
  let service: ReadyService;
  let port: number;
  let verify: () => Promise<Answer>;
  let control: Noticed;

  beforeAll(async () => {
    const stores = { DATABASE_URL: await freshPostgres(), REDIS_URL: await freshRedis() };
    const fleet = await startFleet(stores, [{}], TURN_PROBE);
    service = fleet.service;
    port = Number(service.address.split(":").at(-1));
    verify = await bystanderOf(fleet);
    await callSteadily(verify);
    // The control is harmless: as many requests as possible, but one after the other.
    control = await noticedBeside({ service, verify }, "control", async (isOver) => {
      while (!isOver()) await (await fetch(`http://${service.address}/.well-known/jwks.json`)).arrayBuffer();
    });
  });
  afterAll(() => service?.[Symbol.asyncDispose]());

  const expectUnharmed = (what: string, attack: Attack) =>
    expectHardlySlowed({ service, verify, control }, what, attack);

  it("is judged by a probe that sees a turn of 60 ms of CPU, and not a turn that only waits", async () => {
    await longestTurnMs(service.pid, "burn 60");
    expect(await longestTurnMs(service.pid, "sleep 200")).toBeGreaterThan(MAX_TURN_MS);
    expect(await longestTurnMs(service.pid)).toBeLessThan(MAX_TURN_MS);
  });

  it("fills no memory with requests behind one that never ends if it reads no answers", async () => {
    const before = rssMib(service.pid);
    const socket = connect(port, "127.0.0.1");
    await once(socket, "connect");
    // Health.Watch over Connect's streaming protocol has an answer that does not end.
    const message = Buffer.concat([Buffer.from([0, 0, 0, 0, 2]), Buffer.from("{}")]);
    socket.write(
      `POST /grpc.health.v1.Health/Watch HTTP/1.1\r\nhost: a\r\ncontent-type: application/connect+json\r\ncontent-length: ${message.length}\r\n\r\n`,
    );
    socket.write(message);
    const [head] = await once(socket, "data");
    expect(String(head)).toContain("HTTP/1.1 200");
    socket.pause();
    const burst = Buffer.from("GET /x HTTP/1.1\r\nhost: a\r\n\r\n".repeat(2500));
    await expectUnharmed("behind a stream", async (isOver) => {
      while (!isOver()) {
        if (!socket.writableNeedDrain) socket.write(burst);
        await letPass(1, "lets the socket send");
      }
    });
    expect(rssMib(service.pid) - before).toBeLessThan(100);
    socket.destroy();
  });

  it.each([...TURN_ATTACKS])("hardly slows another client when it %s", async (what, attack) => {
    // The rest of the last attack has the same address, so this request waits until it is served.
    await (await fetch(`http://${service.address}/.well-known/jwks.json`)).arrayBuffer();
    let answers = 0;
    await expectUnharmed(what, async (isOver) => {
      answers += await attack(port, isOver);
    });
    // The attack happened. Where the service ends connections, each of them counts once.
    expect(answers).toBeGreaterThan(/frames of one byte|may have 100/.test(what) ? 10 : 50);
  });
});
