/**
 * Clients that try to fill the event loop: each sends requests at once that take long to answer. Another client's
 * VerifyKey is hardly slower meanwhile, and the loop never stalls for long.
 */

import { once } from "node:events";
import { connect } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { bystanderOf, callSteadily, longestStallMs, p99, rssMib, times } from "../support/bystander.ts";
import { startFleet } from "../support/fleet.ts";
import { type Answer, report, tally } from "../support/measurements.ts";
import { canStart, freshPostgres, freshRedis } from "../support/shared-servers.ts";
import type { ReadyService } from "../support/spawned-service.ts";
import { TURN_ATTACKS } from "../support/turn-attacks.ts";
import { letPass } from "../support/until.ts";

/** Maximum factor of another client's p99, against its p99 beside the harmless control. */
const FACTOR = 3;
/** A p99 that a busy machine causes by itself. */
const FLOOR_MS = 50;
const ATTEMPTS = 4;

describe.skipIf(!canStart("postgres") || !canStart("redis"))("a client without a credential", () => {
  let service: ReadyService;
  let port: number;
  let verify: () => Promise<Answer>;
  let control: { readonly p99Ms: number; readonly stallMs: number };

  beforeAll(async () => {
    const fleet = await startFleet({ DATABASE_URL: await freshPostgres(), REDIS_URL: await freshRedis() });
    service = fleet.service;
    port = Number(service.address.split(":").at(-1));
    verify = await bystanderOf(fleet);
    await callSteadily(verify);
    // The control is harmless: as many requests as possible, but one after the other.
    control = await beside("control", async (isOver) => {
      while (!isOver()) await (await fetch(`http://${service.address}/.well-known/jwks.json`)).arrayBuffer();
    });
  });
  afterAll(() => service?.[Symbol.asyncDispose]());

  /** The p99 of the other client and the longest stall during an attack, which goes on until `isOver`. */
  async function beside(what: string, attack: (isOver: () => boolean) => Promise<unknown>) {
    await longestStallMs(service.opsAddress);
    let isOver = false;
    const attacking = attack(() => isOver);
    const answers = await callSteadily(verify);
    isOver = true;
    await attacking;
    const stallMs = await longestStallMs(service.opsAddress);
    report(`${what}, longest stall ${stallMs.toFixed(0)} ms`, times(answers));
    expect(tally(answers)).toEqual({ VALID: answers.length });
    return { p99Ms: p99(answers), stallMs };
  }

  async function expectUnharmed(what: string, attack: (isOver: () => boolean) => Promise<unknown>): Promise<void> {
    const most = {
      p99Ms: Math.max(FACTOR * control.p99Ms, FLOOR_MS),
      stallMs: Math.max(2 * control.stallMs, FLOOR_MS),
    };
    let noticed = await beside(what, attack);
    // The harm of an attack comes in every attempt, a delay of the busy machine does not.
    for (let again = 1; again < ATTEMPTS && isMore(noticed, most); again++) noticed = await beside(what, attack);
    expect(isMore(noticed, most), JSON.stringify({ noticed, most })).toBe(false);
  }

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
    expect(answers).toBeGreaterThan(50);
  });
});

interface Noticed {
  readonly p99Ms: number;
  readonly stallMs: number;
}

function isMore(noticed: Noticed, most: Noticed): boolean {
  return noticed.p99Ms > most.p99Ms || noticed.stallMs > most.stallMs;
}
