/** What one client has sent at once, on as many connections as it likes: others are served between, turn by turn. */
import { connect, type Socket } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import type { CallHead } from "../../src/rpc/call.ts";
import { type FrontDoor, startFrontDoor } from "../support/front-door.ts";
import { LANE } from "../support/lane.ts";
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
import { until } from "../support/until.ts";

const VERIFY = "/latchkey.v1.KeyService/VerifyKey";
/** What a turn may begin for a caller that is alone: 64 as they are read, and 64 that were read before. */
const MOST_IN_A_TURN = 2 * 64;

let wire: FrontDoor;
const sockets: Socket[] = [];
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  await wire.server.stop();
});

/** Counts what happens in each turn of the event loop. */
class TurnCounter {
  most = 0;
  total = 0;
  #now = 0;

  count(): void {
    if (this.#now === 0) {
      setImmediate(() => {
        this.#now = 0;
      });
    }
    this.#now++;
    this.total++;
    this.most = Math.max(this.most, this.#now);
  }
}

async function connectMany(count: number): Promise<RawHttp2[]> {
  const all = await Promise.all(Array.from({ length: count }, () => connectRaw(wire.port)));
  sockets.push(...all.map(({ socket }) => socket));
  return all;
}

function calls(count: number, firstId: number, path: string, headers: Readonly<Record<string, string>>): Buffer {
  const call = (id: number) => [
    frame(HEADERS, END_HEADERS, id, grpcHead(path, headers)),
    frame(DATA, END_STREAM, id, grpcMessage(new Uint8Array())),
  ];
  return Buffer.concat(Array.from({ length: count }, (_, n) => call(firstId + 2 * n)).flat());
}

function answers({ came }: RawHttp2): number {
  return came.get(HEADERS) ?? 0;
}

describe.skipIf(LANE.unaryLane === false)("a service that calls VerifyKey on 40 connections", () => {
  it("100 times at once on each is interrupted in each turn, and all its calls are answered", async () => {
    const callers = new WeakMap<object, string>();
    const order: string[] = [];
    const turns = new TurnCounter();
    wire = await startFrontDoor({
      keys: {
        verifyKey: (_request, { caller }) => {
          order.push(caller.kind === "service" ? caller.credentialId : "");
          turns.count();
          return { valid: true };
        },
      },
      deps: {
        resolveCaller: (head: CallHead) => {
          const [credentialId = ""] = head.header("authorization");
          callers.set(head.connection, credentialId);
          return { kind: "service", credentialId, scopes: ["verify"] };
        },
        callerOfConnection: (connection) => {
          const credentialId = callers.get(connection);
          return credentialId === undefined ? undefined : { kind: "service", credentialId, scopes: [] };
        },
      },
    });
    const hogs = await connectMany(40);
    const [other] = await connectMany(1);
    // Who they are is known by a first call.
    for (const hog of hogs) await hog.send(calls(1, 1, VERIFY, { authorization: "hog" }));
    await other!.send(calls(1, 1, VERIFY, { authorization: "other" }));
    await until(() => [...hogs, other!].every((each) => answers(each) === 2));
    order.length = 0;
    // The kernel takes all of it now: the server reads in its next turn.
    for (const { socket } of hogs) socket.write(calls(100, 3, VERIFY, { authorization: "hog" }));
    other!.socket.write(calls(1, 3, VERIFY, { authorization: "other" }));
    await until(() => order.length === 4001);
    // The kernel may need some turns to deliver it. Without turns it is the last one.
    expect(order.indexOf("other")).toBeLessThan(1000);
    expect(turns.most).toBeLessThan(1000);
    await until(() => hogs.every((hog) => answers(hog) === 202));
  });
});

describe("a stranger", () => {
  it("whose 1,000 calls of the dear way come at once begins few of them a turn, and each is answered", async () => {
    const turns = new TurnCounter();
    wire = await startFrontDoor({
      auth: { logout: async () => ({}) },
      deps: {
        clientIp: (head) => {
          turns.count();
          return head.peerAddress;
        },
      },
    });
    const all = await connectMany(10);
    const burst = calls(100, 1, "/latchkey.v1.AuthService/Logout", { "grpc-encoding": "gzip" });
    for (const { socket } of all) socket.write(burst);
    await until(() => all.every((each) => answers(each) + (each.came.get(RST_STREAM) ?? 0) >= 100));
    expect(turns.total).toBeGreaterThanOrEqual(1000);
    // The address of each is looked at when it is read, when its call begins and when that ends, which few do in a turn.
    expect(turns.most).toBeLessThan(2 * MOST_IN_A_TURN);
  });

  it("that pipelines HTTP/1.1 on 100 connections has few requests begun in a turn", async () => {
    const turns = new TurnCounter();
    wire = await startFrontDoor({
      deps: {
        clientIp: (head) => {
          turns.count();
          return head.peerAddress;
        },
      },
    });
    let bytes = 0;
    const all = Array.from({ length: 100 }, () => connect(wire.port, "127.0.0.1"));
    sockets.push(...all);
    await Promise.all(all.map((socket) => new Promise((resolve) => socket.once("connect", resolve))));
    for (const socket of all)
      socket.on("data", (piece: Buffer) => {
        bytes += piece.toString().split("HTTP/1.1 404").length - 1;
      });
    for (const socket of all) socket.write("GET /x HTTP/1.1\r\nhost: a\r\n\r\n".repeat(36));
    await until(() => bytes === 3600);
    expect(turns.total).toBe(3600);
    // Four pieces are parsed in a turn; each begins one request, and one that waited from a piece before.
    expect(turns.most).toBeLessThan(100);
  });
});
