/**
 * Clients that want one turn of the event loop for themselves: each sends at once what takes long to answer. Another
 * client's VerifyKey is hardly slower meanwhile, and the loop never stands still for long.
 */
import { once } from "node:events";
import { connect } from "node:net";
import { setTimeout as pause } from "node:timers/promises";
import { gzipSync } from "node:zlib";
import { create, toBinary } from "@bufbuild/protobuf";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ServerReflection } from "../../src/gen/grpc/reflection/v1/reflection_pb.ts";
import { LoginRequestSchema } from "../../src/gen/latchkey/v1/auth_service_pb.ts";
import { KeyService } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { callSteadily, longestStallMs, p99, rssMib, times } from "../support/bystander.ts";
import {
  connectRaw,
  DATA,
  END_HEADERS,
  END_STREAM,
  frame,
  grpcHead,
  grpcMessage,
  HEADERS,
  type RawHttp2,
  RST_STREAM,
} from "../support/raw-http2.ts";
import { type Answer, answerTo, report, tally } from "../support/samples.ts";
import { canStart, freshPostgres, freshRedis } from "../support/servers.ts";
import { clientOf } from "../support/service.ts";
import {
  bootstrapOperator,
  castAt,
  type ReadyService,
  serviceEnvironment,
  startService,
} from "../support/service-process.ts";
import { until } from "../support/wire-server.ts";

/** Another client's p99 may be this many times what it is beside the harmless control. */
const FACTOR = 3;
/** What a busy machine does to a p99 by itself. */
const FLOOR_MS = 50;
const ATTEMPTS = 4;
const REFLECTION = `/${ServerReflection.typeName}/ServerReflectionInfo`;
const LOGIN = "/latchkey.v1.AuthService/Login";
const MESSAGES_A_SECOND = 13_000;

describe.skipIf(!canStart("postgres") || !canStart("redis"))("one stranger", () => {
  let service: ReadyService;
  let port: number;
  let verify: () => Promise<Answer>;
  let control: { readonly p99Ms: number; readonly stallMs: number };

  beforeAll(async () => {
    const env = serviceEnvironment({ DATABASE_URL: await freshPostgres(), REDIS_URL: await freshRedis() });
    const admin = await bootstrapOperator(env);
    service = await startService(env);
    port = Number(service.address.split(":").at(-1));
    const cast = await castAt(service.address, admin);
    const [key] = await cast.issue(1);
    const client = clientOf(service.address, KeyService, cast.verifier);
    verify = () => answerTo(() => client.verifyKey({ apiKey: key!.raw }, { timeoutMs: 10_000 }));
    await callSteadily(verify);
    // Harmless: a stranger's calls one after the other, as many as fit.
    control = await beside("control", async (isOver) => {
      while (!isOver()) await (await fetch(`http://${service.address}/.well-known/jwks.json`)).arrayBuffer();
    });
  });
  afterAll(() => service?.[Symbol.asyncDispose]());

  /** What the other client notices of an attack, which goes on until `isOver`. */
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
    // What the attack costs comes every time; what else the machine does meanwhile does not.
    for (let again = 1; again < ATTEMPTS && isMore(noticed, most); again++) noticed = await beside(what, attack);
    expect(isMore(noticed, most), JSON.stringify({ noticed, most })).toBe(false);
  }

  it("that asks reflection 13,000 times a second on one stream", async () => {
    using attacker = await connectRaw(port, 2 ** 31 - 1);
    await attacker.send(frame(HEADERS, END_HEADERS, 1, grpcHead(REFLECTION)));
    // file_containing_symbol (field 4) of a symbol that does not exist.
    const question = grpcMessage(Buffer.from([0x22, 3, ...Buffer.from("x.y")]));
    const piece = frame(DATA, 0, 1, Buffer.concat(Array(MESSAGES_A_SECOND / 100).fill(question)));
    await expectUnharmed("reflection", async (isOver) => {
      while (!isOver() && !attacker.isClosed()) {
        await attacker.send(piece);
        await pause(10);
      }
    });
    expect(attacker.came.get(DATA)).toBeGreaterThan(100);
  });

  it("that sends 2,500 requests of HTTP/1.1 in one write, again and again", async () => {
    const burst = Buffer.from("GET /x HTTP/1.1\r\nhost: a\r\n\r\n".repeat(2500));
    let answers = 0;
    await expectUnharmed("pipelining", async (isOver) => {
      while (!isOver()) {
        const socket = connect(port, "127.0.0.1");
        socket.on("error", () => {});
        socket.on("data", (piece) => {
          answers += piece.toString("latin1").split("HTTP/1.1 404").length - 1;
        });
        await once(socket, "connect");
        socket.write(burst);
        const before = answers;
        await until(() => isOver() || answers >= before + 250);
        socket.destroy();
      }
    });
    expect(answers).toBeGreaterThan(250);
  });

  it("that sends 36 requests of HTTP/1.1 on each of 200 connections at once, again and again", async () => {
    const burst = Buffer.from("GET /x HTTP/1.1\r\nhost: a\r\n\r\n".repeat(36));
    let answers = 0;
    await expectUnharmed("pipelining on 200 connections", async (isOver) => {
      while (!isOver()) {
        const sockets = Array.from({ length: 200 }, () => connect(port, "127.0.0.1"));
        for (const socket of sockets) {
          socket.on("error", () => {});
          socket.on("data", () => answers++);
        }
        await Promise.all(sockets.map((socket) => once(socket, "connect")));
        const before = answers;
        for (const socket of sockets) socket.write(burst);
        await until(() => isOver() || answers >= before + 200);
        for (const socket of sockets) socket.destroy();
      }
    });
    expect(answers).toBeGreaterThan(200);
  });

  it("that sends requests behind one that never ends, and reads nothing, fills no memory", async () => {
    const before = rssMib(service.pid);
    const socket = connect(port, "127.0.0.1");
    await once(socket, "connect");
    // Health.Watch by Connect's streaming protocol: its answer does not end.
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
        await pause(1);
      }
    });
    expect(rssMib(service.pid) - before).toBeLessThan(100);
    socket.destroy();
  });

  it.each([
    ["900 calls of the Connect lane at once, though 100 may be open", 1, 900],
    ["9,000 calls of the Connect lane at once, 100 on each connection", 90, 100],
    ["9,000 calls of the Connect lane at once, 10 on each connection", 900, 10],
  ])("that begins %s", async (what, connections, calls) => {
    const call = (id: number) => [
      frame(HEADERS, END_HEADERS, id, grpcHead(LOGIN, { "grpc-encoding": "gzip" })),
      frame(DATA, END_STREAM, id, grpcMessage(new Uint8Array())),
    ];
    const burst = Buffer.concat(Array.from({ length: calls }, (_, n) => call(2 * n + 1)).flat());
    const outcomes = ({ came }: RawHttp2) => (came.get(HEADERS) ?? 0) + (came.get(RST_STREAM) ?? 0);
    let answered = 0;
    await expectUnharmed(what, async (isOver) => {
      while (!isOver()) {
        const attackers = await Promise.all(Array.from({ length: connections }, () => connectRaw(port)));
        for (const { socket } of attackers) socket.write(burst);
        await until(() => isOver() || attackers.every((each) => each.isClosed() || outcomes(each) >= calls));
        for (const each of attackers) {
          answered += each.came.get(HEADERS) ?? 0;
          each[Symbol.dispose]();
        }
      }
    });
    expect(answered).toBeGreaterThan(100);
  });

  it.each([
    ["the unary lane", {}],
    ["the Connect lane", { "grpc-encoding": "gzip" }],
  ])("that sends 60,000 bytes of a message of %s, each in a frame of its own", async (what, headers) => {
    const byte = frame(DATA, 0, 1, Buffer.alloc(1));
    const head = frame(HEADERS, END_HEADERS, 1, grpcHead(LOGIN, headers));
    const burst = Buffer.concat([head, ...Array<Buffer>(60_000).fill(byte)]);
    let sent = 0;
    await expectUnharmed(`bytes, ${what}`, async (isOver) => {
      while (!isOver()) {
        using attacker = await connectRaw(port);
        await attacker.send(burst);
        sent++;
      }
    });
    expect(sent).toBeGreaterThan(0);
  });

  it("that sends passwords of 2,040 combining marks in 82 bytes", async () => {
    const password = `e${"\u0301".repeat(2040)}`;
    const plain = toBinary(LoginRequestSchema, create(LoginRequestSchema, { email: "a@example.com", password }));
    const zipped = grpcMessage(gzipSync(plain));
    zipped[0] = 1;
    const call = (id: number) => [
      frame(HEADERS, END_HEADERS, id, grpcHead(LOGIN, { "grpc-encoding": "gzip" })),
      frame(DATA, END_STREAM, id, zipped),
    ];
    let answered = 0;
    await expectUnharmed("combining marks", async (isOver) => {
      using attacker = await connectRaw(port);
      for (let id = 1; !isOver() && !attacker.isClosed(); id += 20) {
        await attacker.send(Buffer.concat(Array.from({ length: 10 }, (_, n) => call(id + 2 * n)).flat()));
        await pause(10);
      }
      answered = attacker.came.get(HEADERS) ?? 0;
    });
    expect(answered).toBeGreaterThan(50);
  });
});

interface Noticed {
  readonly p99Ms: number;
  readonly stallMs: number;
}

function isMore(noticed: Noticed, most: Noticed): boolean {
  return noticed.p99Ms > most.p99Ms || noticed.stallMs > most.stallMs;
}
