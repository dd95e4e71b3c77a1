/** Fairness among clients: one sends much at once on many connections, and the server still serves the others. */
import { connect, type Socket } from "node:net";
import { create, toBinary } from "@bufbuild/protobuf";
import { createClient } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport } from "@connectrpc/connect-node";
import { credentials, Client as GrpcClient } from "@grpc/grpc-js";
import { afterEach, describe, expect, it } from "vitest";
import { AuthService } from "../../src/gen/latchkey/v1/auth_service_pb.ts";
import { BatchVerifyKeysRequestSchema } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import type { CallHead } from "../../src/rpc/call.ts";
import { callGrpc, type FrontDoor, startFrontDoor } from "../support/front-door.ts";
import { LANE } from "../support/lane.ts";
import {
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
  NEXT_ID,
  type RawHttp2,
  RST_STREAM,
  SETTINGS,
} from "../support/raw-http2.ts";
import { until } from "../support/until.ts";

const MAX_FRAME_BYTES = 16_384;
const VERIFY = "/latchkey.v1.KeyService/VerifyKey";
/** Maximum calls that a turn begins for a lone caller: 64 that the turn reads, and 64 that were read before. */
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

describe.skipIf(LANE.unaryLane === false)("a service with 100 VerifyKey calls on each of 40 connections", () => {
  it("waits for other callers in each turn, and gets all its calls answered", async () => {
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
    // The server learns the caller of a connection from its first call, and allows more streams at the second one.
    for (const count of [1, 2]) {
      const firstId = 2 * count - 1;
      for (const hog of hogs) await hog.send(calls(1, firstId, VERIFY, { authorization: "hog" }));
      await other!.send(calls(1, firstId, VERIFY, { authorization: "other" }));
      await until(() => [...hogs, other!].every((each) => answers(each) === 2 * count));
    }
    await until(() => hogs.every(({ came }) => (came.get(SETTINGS) ?? 0) > 2));
    order.length = 0;
    // The kernel takes all the bytes now; the server reads them in its next turn.
    for (const { socket } of hogs) socket.write(calls(100, NEXT_ID, VERIFY, { authorization: "hog" }));
    other!.socket.write(calls(1, NEXT_ID, VERIFY, { authorization: "other" }));
    await until(() => order.length === 4001);
    // The kernel may need some turns to deliver the call. Without fair turns it would be the last one.
    expect(order.indexOf("other")).toBeLessThan(1000);
    expect(turns.most).toBeLessThan(1000);
    await until(() => hogs.every((hog) => answers(hog) === 204));
  });
});

describe("a client without a credential", () => {
  it.each([
    ["the expensive Connect lane", "/latchkey.v1.AuthService/Logout", { "grpc-encoding": "gzip" }],
    ["REST", "/v1/auth/logout", { "content-type": "application/json" }],
  ])(
    "that sends 1,000 calls of %s at once begins few in a turn, and each is answered",
    async (_lane, path, headers) => {
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
      const burst = calls(100, 1, path, headers);
      for (const { socket } of all) socket.write(burst);
      await until(() => all.every((each) => answers(each) + (each.came.get(RST_STREAM) ?? 0) >= 100));
      expect(turns.total).toBeGreaterThanOrEqual(1000);
      // The server asks for the address of a call three times: on reading, and when the call begins and ends. Few calls
      // end in a turn.
      expect(turns.most).toBeLessThan(2 * MOST_IN_A_TURN);
    },
  );

  it("that connects 60 times at once, with calls in the first bytes, has few connections begun in a turn", async () => {
    const turns = new TurnCounter();
    wire = await startFrontDoor({
      auth: { logout: async () => ({}) },
      deps: {
        callerOfConnection: () => {
          turns.count();
          return undefined;
        },
      },
    });
    const start = Buffer.concat([
      Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
      frame(SETTINGS, 0, 0),
      calls(10, 1, "/latchkey.v1.AuthService/Logout", {}),
    ]);
    const all = Array.from({ length: 60 }, () => connect(wire.port, "127.0.0.1"));
    sockets.push(...all);
    await Promise.all(all.map((socket) => new Promise((resolve) => socket.once("connect", resolve))));
    for (const socket of all) socket.write(start);
    await until(() => wire.finished.length === 600);
    // Four connections begin in a turn. The server asks for the caller at most four times for each of their calls.
    expect(turns.most).toBeLessThan(4 * 10 * 4 + MOST_IN_A_TURN);
  });

  it("has at most 100 calls open on a connection, and loses it when it begins one more", async () => {
    let open = 0;
    wire = await startFrontDoor({
      auth: {
        logout: () => {
          open++;
          return new Promise(() => {});
        },
      },
    });
    const [client] = await connectMany(1);
    await until(() => client!.came.get(SETTINGS) === 2);
    await client!.send(calls(100, 1, "/latchkey.v1.AuthService/Logout", {}));
    await until(() => open === 100);
    await client!.send(calls(1, 201, "/latchkey.v1.AuthService/Logout", {}));
    await client!.closed;
    expect([open, client!.came.get(GOAWAY)]).toEqual([100, 1]);
  });

  it("that is a library gets 500 calls at once answered on a new connection, 100 at a time", async () => {
    let waiting: (() => void)[] = [];
    let most = 0;
    wire = await startFrontDoor({
      auth: {
        // A call is answered when 100 are open. With fewer at a time, none would be answered.
        logout: async () => {
          const { promise, resolve } = Promise.withResolvers<object>();
          most = Math.max(
            most,
            waiting.push(() => resolve({})),
          );
          if (waiting.length === 100) {
            for (const answer of waiting) answer();
            waiting = [];
          }
          return promise;
        },
      },
    });
    for (const createTransport of [createGrpcTransport, createConnectTransport]) {
      const transport = createTransport({ baseUrl: `http://${wire.address}`, httpVersion: "2" });
      const client = createClient(AuthService, transport);
      await Promise.all(Array.from({ length: 500 }, () => client.logout({})));
    }
    const grpcJs = new GrpcClient(wire.address, credentials.createInsecure());
    await Promise.all(Array.from({ length: 500 }, () => callGrpc(grpcJs, AuthService.method.logout, {})));
    grpcJs.close();
    expect(most).toBeLessThanOrEqual(100);
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
    // The server parses four pieces in a turn. Each begins one request, and one that waited from an earlier piece.
    expect(turns.most).toBeLessThan(100);
  });
});

describe("a service whose 500 calls all end at once", () => {
  /** Maximum calls that end in a turn: 16 when the server notices the end, and 16 that waited from the turn before. */
  const ENDS_IN_A_TURN = 2 * 16;
  /** Starts a server whose Logout never answers. The result counts the calls whose message has come. */
  async function startHanging(counter: TurnCounter) {
    const hanging = { count: 0 };
    wire = await startFrontDoor({
      auth: {
        logout: () => {
          hanging.count++;
          return new Promise(() => {});
        },
      },
      deps: { callerOfConnection: () => ({ kind: "service", credentialId: "svc_1", scopes: [] }) },
    });
    const client = await connectAsService(wire.port, "Bearer service");
    sockets.push(client.socket);
    // The Connect lane ends a call after it has sent the answer.
    await until(() => wire.server.callsInFlight === 0);
    wire.server.observe({ finished: () => counter.count() });
    return { hanging, client };
  }

  it.each([
    ["unary gRPC", {}],
    ["the Connect lane", { "grpc-encoding": "gzip" }],
  ])("by closing a connection has few of them end in a turn (%s)", async (_, headers) => {
    const counter = new TurnCounter();
    const { hanging, client } = await startHanging(counter);
    client.socket.write(calls(500, NEXT_ID, "/latchkey.v1.AuthService/Logout", headers));
    await until(() => hanging.count === 500);
    client.socket.destroy();
    await until(() => counter.total === 500);
    expect(counter.most).toBeLessThanOrEqual(ENDS_IN_A_TURN);
  });

  it("by closing a connection before their messages have come has few of them end in a turn", async () => {
    const counter = new TurnCounter();
    const { client } = await startHanging(counter);
    const head = grpcHead("/latchkey.v1.AuthService/Logout", { "grpc-encoding": "gzip" });
    client.socket.write(
      Buffer.concat(Array.from({ length: 500 }, (_, n) => frame(HEADERS, END_HEADERS, NEXT_ID + 2 * n, head))),
    );
    await until(() => wire.server.callsInFlight === 500);
    client.socket.destroy();
    await until(() => counter.total === 500);
    expect(counter.most).toBeLessThanOrEqual(ENDS_IN_A_TURN);
  });

  it("by a common deadline has few of them end in a turn", async () => {
    const counter = new TurnCounter();
    const { hanging, client } = await startHanging(counter);
    client.socket.write(calls(500, NEXT_ID, "/latchkey.v1.AuthService/Logout", { "grpc-timeout": "2S" }));
    await until(() => hanging.count === 500);
    await until(() => counter.total === 500);
    expect(counter.most).toBeLessThanOrEqual(ENDS_IN_A_TURN);
  });
});

describe.skipIf(LANE.unaryLane === false)("a service with three batches of 256 keys on 40 connections each", () => {
  it("has few of its batches begun in a turn", async () => {
    const turns = new TurnCounter();
    wire = await startFrontDoor({
      keys: {
        batchVerifyKeys: () => {
          turns.count();
          return {};
        },
      },
      deps: { resolveCaller: () => ({ kind: "service", credentialId: "svc_1", scopes: ["verify"] }) },
    });
    const hogs = await connectMany(40);
    const key = "k".repeat(58);
    const batch = toBinary(
      BatchVerifyKeysRequestSchema,
      create(BatchVerifyKeysRequestSchema, { requests: Array.from({ length: 256 }, () => ({ apiKey: key })) }),
    );
    const head = grpcHead("/latchkey.v1.KeyService/BatchVerifyKeys");
    const message = grpcMessage(batch);
    const call = (id: number) => [
      frame(HEADERS, END_HEADERS, id, head),
      frame(DATA, 0, id, message.subarray(0, MAX_FRAME_BYTES)),
      frame(DATA, END_STREAM, id, message.subarray(MAX_FRAME_BYTES)),
    ];
    for (const { socket } of hogs) socket.write(Buffer.concat([1, 3, 5].flatMap(call)));
    await until(() => turns.total === 120);
    expect(turns.most).toBeLessThan(30);
  });
});
