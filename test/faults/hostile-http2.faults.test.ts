/**
 * Hostile HTTP/2 clients against the service in a process of its own: their connection ends or is bounded, and another
 * client hardly notices. The test writes the frames by hand and in few large pieces, so that it stays free to measure
 * the other client.
 */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { bystanderOf, callSteadily, p99, rssMib, times } from "../support/bystander.ts";
import { startFleet } from "../support/fleet.ts";
import { type Answer, report, tally } from "../support/measurements.ts";
import {
  CONTINUATION,
  connectAsService,
  connectRaw,
  DATA,
  END_HEADERS,
  END_STREAM,
  frame,
  GOAWAY,
  grpcHead,
  grpcMessage,
  HEADERS,
  headerBlock,
  NEXT_ID,
  PING,
  type RawHttp2,
  RST_STREAM,
  SETTINGS,
  WINDOW_UPDATE,
} from "../support/raw-http2.ts";
import { canStart, freshPostgres, freshRedis } from "../support/shared-servers.ts";
import type { ReadyService } from "../support/spawned-service.ts";
import { until } from "../support/until.ts";

const CHECK = "/grpc.health.v1.Health/Check";
const LOGIN = "/latchkey.v1.AuthService/Login";
/**
 * Bound on the delay of the other client: twice its delay beside an honest client that opens 500 calls at once, or the
 * delay that a busy machine causes by itself.
 */
const FACTOR = 2;
const FLOOR_MS = 100;
const CALLS = 400;
/** Maximum growth of the service's memory by one attack. */
const MAX_GROWTH_MIB = 256;
const CANCEL = Buffer.from([0, 0, 0, 8]);

/** The frames of `count` streams with the ids 5, 7, 9 and so on. */
function streams(count: number, framesOf: (id: number) => readonly Buffer[]): Buffer {
  return Buffer.concat(Array.from({ length: count }, (_, n) => framesOf(2 * n + NEXT_ID)).flat());
}

function repeated(count: number, piece: Buffer): Buffer {
  return Buffer.concat(Array(count).fill(piece));
}

const open = (id: number) => frame(HEADERS, END_HEADERS, id, grpcHead(LOGIN));

/** Calls that are opened and ended properly. */
function inOrder(count: number): Buffer {
  return streams(count, (id) => [open(id), frame(DATA, END_STREAM, id)]);
}

/** Calls that need no credential and have short answers. */
function checks(count: number): Buffer {
  const message = grpcMessage(new Uint8Array());
  return streams(count, (id) => [
    frame(HEADERS, END_HEADERS, id, grpcHead(CHECK)),
    frame(DATA, END_STREAM, id, message),
  ]);
}

describe.skipIf(!canStart("postgres") || !canStart("redis"))("a hostile HTTP/2 client", () => {
  let service: ReadyService;
  let verify: () => Promise<Answer>;
  let usualP99Ms: number;
  let port: number;
  let before: number;
  let verifier: string;
  const attackers: RawHttp2[] = [];
  /** Number of calls that were answered before the attack. */
  const atStart = new WeakMap<RawHttp2, number>();
  const answersTo = (attacker: RawHttp2) => attacker.answered.size - (atStart.get(attacker) ?? 0);

  beforeAll(async () => {
    const fleet = await startFleet({ DATABASE_URL: await freshPostgres(), REDIS_URL: await freshRedis() });
    service = fleet.service;
    port = Number(service.address.split(":").at(-1));
    verify = await bystanderOf(fleet);
    await callSteadily(verify);
    const idle = await callSteadily(verify);
    report("idle", times(idle));
    ({ verifier } = await fleet.cast());
    const client500 = await attackAsService();
    const [beside] = await Promise.all([callSteadily(verify), client500.send(inOrder(500))]);
    report("beside 500 calls at once", times(beside));
    await until(() => answersTo(client500) === 500);
    usualP99Ms = Math.max(p99(idle), p99(beside));
  });
  afterAll(() => service?.[Symbol.asyncDispose]());
  beforeEach(() => {
    before = rssMib(service.pid);
  });
  afterEach(() => {
    for (const attacker of attackers.splice(0)) attacker[Symbol.dispose]();
  });

  async function attack(window?: number): Promise<RawHttp2> {
    const attacker = await connectRaw(port, window);
    attackers.push(attacker);
    // The server has answered its SETTINGS, so the connection is accepted.
    await until(() => (attacker.came.get(SETTINGS) ?? 0) >= 2);
    return attacker;
  }

  /** The same with a service's credential, so that the connection may have 1,000 streams at once. */
  async function attackAsService(window?: number): Promise<RawHttp2> {
    const attacker = await connectAsService(port, `Bearer ${verifier}`, window);
    attackers.push(attacker);
    atStart.set(attacker, attacker.answered.size);
    return attacker;
  }

  /** Calls as the other client during an attack. All calls are answered; p99 and memory stay within their bounds. */
  async function expectUnharmed(what: string, attacking: Promise<unknown>): Promise<void> {
    const [answers] = await Promise.all([callSteadily(verify), attacking]);
    report(what, times(answers));
    expect(tally(answers)).toEqual({ VALID: CALLS });
    expect(p99(answers)).toBeLessThan(Math.max(FACTOR * usualP99Ms, FLOOR_MS));
    expect(rssMib(service.pid) - before).toBeLessThan(MAX_GROWTH_MIB);
  }

  it("is served and keeps its connection if it opens and ends calls properly: the control", async () => {
    const client = await attack();
    await client.send(inOrder(90));
    await until(() => answersTo(client) === 90);
    expect([client.isClosed(), client.came.get(GOAWAY)]).toEqual([false, undefined]);
  });

  it.each<[what: string, frames: () => Buffer, ends: "GOAWAY" | "cut"]>([
    [
      "resets each call that it opens (rapid reset)",
      () => streams(10_000, (id) => [open(id), frame(RST_STREAM, 0, id, CANCEL)]),
      "GOAWAY",
    ],
    [
      "makes the service reset each call that it opens",
      () => streams(10_000, (id) => [open(id), frame(WINDOW_UPDATE, 0, id, Buffer.alloc(4))]),
      "cut",
    ],
    [
      "never ends its headers (CONTINUATION flood)",
      () =>
        Buffer.concat([
          frame(HEADERS, 0, 1, grpcHead(LOGIN)),
          repeated(100_000, frame(CONTINUATION, 0, 1, headerBlock({ a: "b" }))),
        ]),
      "cut",
    ],
    [
      "sends empty CONTINUATION frames",
      () => Buffer.concat([frame(HEADERS, 0, 1, grpcHead(LOGIN)), repeated(100_000, frame(CONTINUATION, 0, 1))]),
      "cut",
    ],
    ["sends PING after PING and reads nothing", () => repeated(200_000, frame(PING, 0, 0, Buffer.alloc(8))), "cut"],
    ["sends SETTINGS after SETTINGS and reads nothing", () => repeated(200_000, frame(SETTINGS, 0, 0)), "cut"],
    ["sends empty DATA frames", () => Buffer.concat([open(1), repeated(200_000, frame(DATA, 0, 1))]), "cut"],
  ])("that %s is cut off", async (what, framesOf, ends) => {
    const frames = framesOf();
    const begun = callsBegun(service);
    const attacker = await attack();
    if (what.includes("reads nothing")) attacker.socket.pause();
    const attacking = attacker.send(frames).then(async () => {
      attacker.socket.resume();
      await attacker.closed;
    });
    await expectUnharmed(what, attacking);
    expect(attacker.isClosed()).toBe(true);
    // The fault happened: the service has read frames of the attack and closed the connection.
    expect(attacker.socket.bytesWritten).toBeGreaterThan(1000);
    // Of 10,000 calls at most 1,000 have begun.
    expect(callsBegun(service) - begun).toBeLessThan(1000);
    if (ends === "GOAWAY") expect(attacker.came.get(GOAWAY)).toBeGreaterThan(0);
  });

  it("loses its connections when it begins 990 calls on each of 12, because 100 may be open", async () => {
    const all = await Promise.all(Array.from({ length: 12 }, () => attack()));
    const frames = streams(990, (id) => [open(id)]);
    const attacking = Promise.all(all.map((attacker) => attacker.send(frames).then(() => attacker.closed)));
    await expectUnharmed("990 calls on each of 12 connections", attacking);
    // A client that has confirmed the maximum is cut off at once, others after 100 refused streams.
    expect(all.filter(({ came }) => !came.has(GOAWAY))).toEqual([]);
  });

  it("takes no capacity of others with 12,000 calls without messages as a service", async () => {
    const all = await Promise.all(Array.from({ length: 12 }, () => attackAsService()));
    const frames = streams(990, (id) => [open(id)]);
    for (const attacker of all) await attacker.send(frames);
    // The calls exceed the capacity: the first ones have given way, and the client is told.
    await until(() => answersTo(all[0]!) > 0);
    await expectUnharmed("12,000 calls without a message", Promise.resolve());
  });

  it("slows no other client with 500 calls whose answers it does not read", async () => {
    const attacker = await attackAsService(0);
    await attacker.send(inOrder(500));
    await expectUnharmed("500 unread answers", Promise.resolve());
  });

  it("keeps its connection and gets its answers late while they fit into the bound on unread answers: the control", async () => {
    const few = await Promise.all(Array.from({ length: 9 }, () => attackAsService(0)));
    await Promise.all(few.map((client) => client.send(checks(990))));
    await until(() => few.every((client) => answersTo(client) === 990));
    // This takes longer than the service tolerates answers beyond the bound.
    await callSteadily(verify);
    expect(few.filter((client) => client.isClosed())).toEqual([]);
    // Each answer then has two HEADERS frames: its headers and its trailers.
    await few[0]!.send(streams(990, (id) => [frame(WINDOW_UPDATE, 0, id, Buffer.from([0, 0, 255, 255]))]));
    await until(() => (few[0]!.came.get(HEADERS) ?? 0) >= 2 * 990 + atStart.get(few[0]!)!);
  });

  it("loses the connections beyond the bound on unread answers when it leaves 40,000 short ones unread on 40", async () => {
    const all = await Promise.all(Array.from({ length: 40 }, () => attackAsService(0)));
    for (const attacker of all) await attacker.send(checks(990));
    const left = () => all.filter((attacker) => !attacker.isClosed()).length;
    await until(() => left() <= 11);
    // The fault happened: the service answered the calls, also those on connections that it cut.
    const answers = all.map(answersTo).reduce((sum, one) => sum + one, 0);
    expect(answers).toBeGreaterThan(20_000);
    // The attack itself is 40,000 calls. The test judges only what it leaves behind.
    expect(tally(await callSteadily(verify))).toEqual({ VALID: CALLS });
    await expectUnharmed("10,000 short unread answers", Promise.resolve());
    // The service cut no connection without need: it kept those whose answers fit.
    expect(left()).toBeGreaterThan(5);
  });

  it("slows no other client with 500 idle connections", async () => {
    await Promise.all(Array.from({ length: 500 }, () => attack()));
    await expectUnharmed("500 silent connections", Promise.resolve());
  });
});

/** Number of Login calls that have ended, by the service's log. */
function callsBegun(service: ReadyService): number {
  return service.output().split("AuthService.Login").length - 1;
}
