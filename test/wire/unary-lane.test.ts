/** The unary lane alone: which calls it takes, and how it reads and ends an HTTP/2 stream. */
import { type ClientHttp2Session, type ClientHttp2Stream, connect, constants } from "node:http2";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { createClient, type Transport } from "@connectrpc/connect";
import {
  compressionGzip,
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
} from "@connectrpc/connect-node";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { Code } from "../../src/gen/google/rpc/code_pb.ts";
import { AuthService, LoginRequestSchema, LoginResponseSchema } from "../../src/gen/latchkey/v1/auth_service_pb.ts";
import { KeyService } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import type { Call } from "../../src/rpc/call.ts";
import { EncodedMessage } from "../../src/rpc/call.ts";
import { callGrpc, type FrontDoor, grpcClient, grpcTrailers, startFrontDoor } from "../support/front-door.ts";
import { until } from "../support/until.ts";

const LOGIN = "/latchkey.v1.AuthService/Login";
const LOGOUT = "/latchkey.v1.AuthService/Logout";
const LIMIT = 64 * 1024;

let wire: FrontDoor;
let session: ClientHttp2Session;
let lastCall: Call | undefined;
let taken: number;

beforeAll(async () => {
  wire = await startFrontDoor({
    auth: {
      login: async ({ email }, call) => {
        lastCall = call;
        return { user: { email } };
      },
      logout: (_request, call) => {
        lastCall = call;
        return new Promise(() => {});
      },
      refresh: async () => new EncodedMessage(toBinary(LoginResponseSchema, create(LoginResponseSchema, {}))),
    },
    keys: {
      async *watchRevocations() {
        yield { cursor: "1" };
      },
    },
    options: { unaryLane: true },
  });
  session = connect(`http://${wire.address}`);
});
afterAll(async () => {
  session.destroy();
  await wire.server.stop();
});
beforeEach(() => {
  lastCall = undefined;
  taken = wire.server.unaryLaneCalls;
});

const isTaken = () => wire.server.unaryLaneCalls > taken;

function open(path: string, headers: Record<string, string> = {}): ClientHttp2Stream {
  const stream = session.request({ ":method": "POST", ":path": path, "content-type": "application/grpc", ...headers });
  stream.on("error", () => {});
  return stream;
}

function framed(message: Uint8Array, flags = 0): Buffer {
  const head = Buffer.alloc(5);
  head[0] = flags;
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

function login(email: string): Buffer {
  return framed(toBinary(LoginRequestSchema, create(LoginRequestSchema, { email })));
}

async function statusOf(stream: ClientHttp2Stream): Promise<number> {
  stream.resume();
  return Number((await grpcTrailers(stream))["grpc-status"]);
}

/** Waits until the server has read everything written before: it answers a PING only after that. */
function flushed(): Promise<void> {
  return new Promise((resolve, reject) => session.ping((error) => (error ? reject(error) : resolve())));
}

describe("the unary lane", () => {
  it.each([
    ["application/grpc", {}],
    ["application/grpc+proto", {}],
    ["an explicit identity encoding", { "grpc-encoding": "identity" }],
  ])("takes unary gRPC with %s", async (contentType, headers) => {
    const stream = open(LOGIN, { ...(contentType.includes("/") && { "content-type": contentType }), ...headers });
    stream.end(login("ann"));
    expect(await statusOf(stream)).toBe(Code.OK);
    expect(isTaken()).toBe(true);
  });

  it("takes the calls of grpc-js", async () => {
    const client = grpcClient(wire.address);
    expect((await callGrpc(client, AuthService.method.login, { email: "ann" })).user?.email).toBe("ann");
    expect(isTaken()).toBe(true);
    client.close();
  });
});

describe("the unary lane, for calls that it does not serve,", () => {
  const over = (name: string): Transport => {
    const baseUrl = `http://${wire.address}`;
    switch (name) {
      case "gRPC with gzip":
        return createGrpcTransport({ baseUrl, sendCompression: compressionGzip, compressMinBytes: 0 });
      case "gRPC with JSON":
        return createGrpcTransport({ baseUrl, useBinaryFormat: false });
      case "gRPC-Web":
        return createGrpcWebTransport({ baseUrl, httpVersion: "2" });
      default:
        return createConnectTransport({ baseUrl, httpVersion: "2" });
    }
  };

  it.each(["gRPC with gzip", "gRPC with JSON", "gRPC-Web", "Connect"])(
    "leaves %s to the Connect lane",
    async (name) => {
      expect((await createClient(AuthService, over(name)).login({ email: "ann" })).user?.email).toBe("ann");
      expect(isTaken()).toBe(false);
    },
  );

  it("leaves streams to the Connect lane", async () => {
    const client = createClient(KeyService, createGrpcTransport({ baseUrl: `http://${wire.address}` }));
    const messages = client.watchRevocations({}, { headers: { authorization: "Bearer service" } });
    expect((await messages[Symbol.asyncIterator]().next()).value?.cursor).toBe("1");
    expect(isTaken()).toBe(false);
  });

  it("leaves an unknown method to the Connect lane", async () => {
    const stream = open("/latchkey.v1.AuthService/Logon");
    stream.end(login("ann"));
    expect(await statusOf(stream)).toBe(Code.UNIMPLEMENTED);
    expect(isTaken()).toBe(false);
  });

  it("leaves every call to the Connect lane when it is switched off", async () => {
    const other = await startFrontDoor({
      auth: { login: async ({ email }) => ({ user: { email } }) },
      options: { unaryLane: false },
    });
    const client = grpcClient(other.address);
    expect((await callGrpc(client, AuthService.method.login, { email: "ann" })).user?.email).toBe("ann");
    expect(other.server.unaryLaneCalls).toBe(0);
    client.close();
    await other.server.stop();
  });
});

describe("a message", () => {
  it("is read, no matter how it is cut into DATA frames", async () => {
    const bytes = login("ann@example.com");
    for (const cuts of [[1], [4], [5], [6], [1, 2, 3, 4, 5, 6, 7], [bytes.length - 1], [bytes.length]]) {
      const stream = open(LOGIN);
      const body: Buffer[] = [];
      stream.on("data", (piece: Buffer) => body.push(piece));
      const trailers = grpcTrailers(stream);
      let start = 0;
      for (const cut of [...cuts, bytes.length]) {
        stream.write(bytes.subarray(start, cut));
        await flushed();
        start = cut;
      }
      stream.end();
      expect((await trailers)["grpc-status"]).toBe("0");
      const answer = Buffer.concat(body);
      expect(answer.readUInt32BE(1)).toBe(answer.length - 5);
      expect(fromBinary(LoginResponseSchema, answer.subarray(5)).user?.email).toBe("ann@example.com");
    }
  });

  it.each([
    ["compressed, though the call has no encoding", [framed(Buffer.from([1]), 1)], Code.INTERNAL],
    ["cut off within its prefix", [Buffer.from([0, 0, 0])], Code.INVALID_ARGUMENT],
    ["followed by one more byte", [login("ann"), Buffer.from([0])], Code.UNIMPLEMENTED],
    ["one byte over the limit", [Buffer.from([0, 0, 1, 0, 1])], Code.RESOURCE_EXHAUSTED],
  ])("that is %s is refused without a call of a handler", async (_name, pieces, code) => {
    const stream = open(LOGIN);
    for (const piece of pieces) stream.write(piece);
    if (code === Code.INVALID_ARGUMENT) stream.end();
    expect(await statusOf(stream)).toBe(code);
    await new Promise((resolve) => stream.on("close", resolve));
    expect(stream.rstCode).toBe(constants.NGHTTP2_NO_ERROR);
    expect(lastCall).toBeUndefined();
    expect(isTaken()).toBe(true);
  });

  it("of exactly the maximum size is read, even in many frames", async () => {
    const stream = open(LOGIN);
    stream.end(login("x".repeat(LIMIT - 4)));
    expect(await statusOf(stream)).toBe(Code.OK);
  });

  it("that is complete runs no handler before its stream ends, and its call is cancelled when the client goes", async () => {
    const own = connect(`http://${wire.address}`);
    own.on("error", () => {});
    const stream = own.request({ ":method": "POST", ":path": LOGIN, "content-type": "application/grpc" });
    stream.on("error", () => {});
    stream.write(login("ann"));
    await new Promise((resolve) => own.once("remoteSettings", resolve));
    await new Promise((resolve) => own.ping(resolve));
    const finished = wire.finished.length;
    own.socket.destroy();
    await until(() => wire.finished.length > finished);
    expect(wire.finished[finished]).toEqual(["AuthService.Login", "CANCELLED"]);
    expect(lastCall).toBeUndefined();
  });
});

describe("an answer", () => {
  it("has its message between headers and trailers, and an error has trailers only", async () => {
    const good = open(LOGIN);
    const goodHeaders = new Promise<Record<string, unknown>>((resolve) => good.on("response", resolve));
    good.end(login("ann"));
    expect(await statusOf(good)).toBe(Code.OK);
    expect(await goodHeaders).toMatchObject({ ":status": 200, "content-type": "application/grpc+proto" });
    expect((await goodHeaders)["grpc-status"]).toBeUndefined();

    const bad = open(LOGIN);
    const badHeaders = new Promise<Record<string, unknown>>((resolve) => bad.on("response", resolve));
    bad.end();
    bad.resume();
    expect(await badHeaders).toMatchObject({
      ":status": 200,
      "content-type": "application/grpc+proto",
      "grpc-status": String(Code.UNIMPLEMENTED),
    });
    expect((await badHeaders)["grpc-status-details-bin"]).toBeTypeOf("string");
  });

  it("waits for a client without a window, and delays no other answer", async () => {
    const narrow = connect(`http://${wire.address}`, { settings: { initialWindowSize: 0 } });
    const stream = narrow.request({ ":method": "POST", ":path": LOGIN, "content-type": "application/grpc" });
    stream.end(login("ann"));
    await new Promise((resolve) => stream.on("response", resolve));
    const other = open(LOGIN);
    other.end(login("bob"));
    expect(await statusOf(other)).toBe(Code.OK);
    narrow.settings({ initialWindowSize: 65_535 });
    expect(await statusOf(stream)).toBe(Code.OK);
    narrow.destroy();
  });
});

describe("the signal of a handler whose client is gone", () => {
  it.each(["RST_STREAM", "a lost connection"])("aborts after %s", async (how) => {
    const own = connect(`http://${wire.address}`);
    own.on("error", () => {});
    const stream = own.request({ ":method": "POST", ":path": LOGOUT, "content-type": "application/grpc" });
    stream.on("error", () => {});
    stream.end(Buffer.alloc(5));
    await until(() => lastCall !== undefined);
    const finished = wire.finished.length;
    if (how === "RST_STREAM") stream.close(constants.NGHTTP2_CANCEL);
    else own.socket.destroy();
    await until(() => lastCall!.signal.aborted);
    await until(() => wire.finished.length > finished);
    expect(wire.finished[finished]).toEqual(["AuthService.Logout", "CANCELLED"]);
    own.destroy();
  });
});

it("a response that its handler has already encoded is the same on every lane", async () => {
  for (const transport of [
    createGrpcTransport({ baseUrl: `http://${wire.address}` }),
    createConnectTransport({ baseUrl: `http://${wire.address}`, httpVersion: "1.1", useBinaryFormat: false }),
  ]) {
    await expect(createClient(AuthService, transport).refresh({})).resolves.toMatchObject({
      $typeName: expect.any(String),
    });
  }
});
