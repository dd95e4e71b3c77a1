/**
 * Clients that try to fill the event loop: each sends requests at once that take long to answer. Tests and the
 * benchmark run them beside another client, which should notice little.
 */
import { once } from "node:events";
import { connect } from "node:net";
import { setTimeout as pause } from "node:timers/promises";
import { gzipSync } from "node:zlib";
import { create, toBinary } from "@bufbuild/protobuf";
import { ServerReflection } from "../../src/gen/grpc/reflection/v1/reflection_pb.ts";
import { LoginRequestSchema } from "../../src/gen/latchkey/v1/auth_service_pb.ts";
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
} from "./raw-http2.ts";

/** An attack that goes on until `isOver`. It returns the number of answers. */
export type TurnAttack = (port: number, isOver: () => boolean) => Promise<number>;

const REFLECTION = `/${ServerReflection.typeName}/ServerReflectionInfo`;
const LOGIN = "/latchkey.v1.AuthService/Login";
const DEAR = { "grpc-encoding": "gzip" };
const QUESTIONS_A_SECOND = 13_000;
const REQUEST = "GET /x HTTP/1.1\r\nhost: a\r\n\r\n";
const LOOK_EVERY_MS = 2;

export const TURN_ATTACKS: ReadonlyMap<string, TurnAttack> = new Map([
  ["asks reflection 13,000 times a second on one stream", askReflection],
  ["begins 900 calls of the Connect lane at once, 100 on each connection", dearCalls(9, 100)],
  ["begins 900 calls of the Connect lane at once on connections that may have 100", dearCalls(1, 900)],
  ["begins 9,000 calls of the Connect lane at once, 100 on each connection", dearCalls(90, 100)],
  ["sends 2,500 requests of HTTP/1.1 in one write, again and again", pipeline(1, 2500)],
  ["sends 36 requests of HTTP/1.1 at once on each of 200 connections, again and again", pipeline(200, 36)],
  ["sends messages of 60,000 bytes in frames of one byte", bytesInFrames(60_000)],
  ["sends refused messages in frames of one byte", bytesInFrames(0)],
  ["sends passwords of 2,040 combining marks in 82 bytes", combiningMarks],
]);

async function askReflection(port: number, isOver: () => boolean): Promise<number> {
  using attacker = await connectRaw(port, 2 ** 31 - 1);
  await attacker.send(frame(HEADERS, END_HEADERS, 1, grpcHead(REFLECTION)));
  // file_containing_symbol (field 4) of a symbol that does not exist.
  const question = grpcMessage(Buffer.from([0x22, 3, ...Buffer.from("x.y")]));
  const piece = frame(DATA, 0, 1, Buffer.concat(Array(QUESTIONS_A_SECOND / 100).fill(question)));
  while (!isOver() && !attacker.isClosed()) {
    await attacker.send(piece);
    await pause(10);
  }
  return attacker.came.get(DATA) ?? 0;
}

function dearCalls(connections: number, calls: number): TurnAttack {
  const call = (id: number) => [
    frame(HEADERS, END_HEADERS, id, grpcHead(LOGIN, DEAR)),
    frame(DATA, END_STREAM, id, grpcMessage(new Uint8Array())),
  ];
  const burst = Buffer.concat(Array.from({ length: calls }, (_, n) => call(2 * n + 1)).flat());
  const outcomes = ({ came }: RawHttp2) => (came.get(HEADERS) ?? 0) + (came.get(RST_STREAM) ?? 0);
  return async (port, isOver) => {
    let answered = 0;
    while (!isOver()) {
      const attackers = await Promise.all(Array.from({ length: connections }, () => connectRaw(port)));
      for (const { socket } of attackers) socket.write(burst);
      await over(isOver, () => attackers.every((each) => each.isClosed() || outcomes(each) >= calls));
      for (const each of attackers) {
        // A connection with too many calls may end before any of them is answered.
        answered += (each.came.get(HEADERS) ?? 0) + (each.isClosed() ? 1 : 0);
        each[Symbol.dispose]();
      }
    }
    return answered;
  };
}

function pipeline(connections: number, requests: number): TurnAttack {
  const burst = Buffer.from(REQUEST.repeat(requests));
  return async (port, isOver) => {
    let answers = 0;
    while (!isOver()) {
      const sockets = Array.from({ length: connections }, () => connect(port, "127.0.0.1"));
      for (const socket of sockets) {
        socket.on("error", () => {});
        socket.on("data", (piece) => {
          answers += piece.toString("latin1").split("HTTP/1.1 404").length - 1;
        });
      }
      await Promise.all(sockets.map((socket) => once(socket, "connect")));
      const before = answers;
      for (const socket of sockets) socket.write(burst);
      await over(isOver, () => answers >= before + 250);
      for (const socket of sockets) socket.destroy();
    }
    return answers;
  };
}

/** @param length the length that the messages announce */
function bytesInFrames(length: number): TurnAttack {
  const head = grpcMessage(new Uint8Array());
  head.writeUInt32BE(length, 1);
  const one = frame(DATA, 0, 1, new Uint8Array(1));
  const call = Buffer.concat([
    frame(HEADERS, END_HEADERS, 1, grpcHead(LOGIN)),
    frame(DATA, 0, 1, head),
    ...Array(59_000).fill(one),
  ]);
  return async (port, isOver) => {
    let cut = 0;
    while (!isOver()) {
      using attacker = await connectRaw(port);
      attacker.socket.write(call);
      await over(isOver, attacker.isClosed);
      if (attacker.isClosed()) cut++;
    }
    return cut;
  };
}

async function combiningMarks(port: number, isOver: () => boolean): Promise<number> {
  const password = `e${"\u0301".repeat(2040)}`;
  const plain = toBinary(LoginRequestSchema, create(LoginRequestSchema, { email: "a@example.com", password }));
  const zipped = grpcMessage(gzipSync(plain));
  zipped[0] = 1;
  const call = (id: number) => [
    frame(HEADERS, END_HEADERS, id, grpcHead(LOGIN, DEAR)),
    frame(DATA, END_STREAM, id, zipped),
  ];
  using attacker = await connectRaw(port);
  for (let id = 1; !isOver() && !attacker.isClosed(); id += 20) {
    await attacker.send(Buffer.concat(Array.from({ length: 10 }, (_, n) => call(id + 2 * n)).flat()));
    await pause(10);
  }
  return attacker.came.get(HEADERS) ?? 0;
}

async function over(isOver: () => boolean, condition: () => boolean): Promise<void> {
  while (!isOver() && !condition()) await pause(LOOK_EVERY_MS);
}
