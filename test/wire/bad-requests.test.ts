import { type ClientHttp2Session, connect, constants } from "node:http2";
import { connect as connectTcp } from "node:net";
import { gzipSync } from "node:zlib";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { anyUnpack } from "@bufbuild/protobuf/wkt";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Code } from "../../src/gen/google/rpc/code_pb.ts";
import { ErrorInfoSchema } from "../../src/gen/google/rpc/error_details_pb.ts";
import { StatusSchema } from "../../src/gen/google/rpc/status_pb.ts";
import { LoginRequestSchema } from "../../src/gen/latchkey/v1/auth_service_pb.ts";
import { type FrontDoor, startFrontDoor } from "../support/front-door.ts";
import { until } from "../support/until.ts";

const LOGIN = "/latchkey.v1.AuthService/Login";
const BATCH = "/latchkey.v1.KeyService/BatchVerifyKeys";
const LIMIT = 64 * 1024;

let wire: FrontDoor;
let session: ClientHttp2Session;
let logins = 0;

beforeAll(async () => {
  wire = await startFrontDoor({
    auth: {
      login: async ({ email }) => {
        logins++;
        return { user: { email } };
      },
    },
    keys: { batchVerifyKeys: async () => ({}) },
  });
  session = connect(`http://${wire.address}`);
});
afterAll(async () => {
  session.destroy();
  await wire.server.stop();
});

interface Answer {
  readonly httpStatus: number;
  readonly grpcStatus: number | undefined;
  readonly message: string | undefined;
  readonly reason: string | undefined;
  readonly body: Buffer;
  readonly resetCode: number;
}

/** Sends one request on a raw HTTP/2 stream. Chunks go out as they are; the request ends unless `open`. */
async function send(
  path: string,
  headers: Record<string, string | string[]>,
  chunks: readonly Uint8Array[],
  open = false,
): Promise<Answer> {
  const stream = session.request({ ":method": "POST", ":path": path, te: "trailers", ...headers });
  stream.on("error", () => {});
  let status: Record<string, unknown> = {};
  const body: Buffer[] = [];
  stream.on("response", (received) => Object.assign(status, received));
  stream.on("trailers", (received) => {
    status = { ...status, ...received };
  });
  stream.on("data", (chunk: Buffer) => body.push(chunk));
  for (const chunk of chunks) stream.write(chunk);
  if (!open) stream.end();
  await new Promise((resolve) => stream.on("close", resolve));
  const details = status["grpc-status-details-bin"] as string | undefined;
  return {
    httpStatus: Number(status[":status"]),
    grpcStatus: status["grpc-status"] === undefined ? undefined : Number(status["grpc-status"]),
    message: status["grpc-message"] === undefined ? undefined : decodeURIComponent(String(status["grpc-message"])),
    reason: details === undefined ? undefined : reasonOf(details),
    body: Buffer.concat(body),
    resetCode: stream.rstCode,
  };
}

function reasonOf(details: string): string | undefined {
  const status = fromBinary(StatusSchema, Buffer.from(details, "base64"));
  const infos = status.details.flatMap((detail) => anyUnpack(detail, ErrorInfoSchema) ?? []);
  expect(infos).toHaveLength(1);
  return infos[0]!.reason;
}

const GRPC = { "content-type": "application/grpc" };

function envelope(message: Uint8Array, flags = 0): Buffer {
  const head = Buffer.alloc(5);
  head[0] = flags;
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

function loginBytes(email = "ann"): Uint8Array {
  return toBinary(LoginRequestSchema, create(LoginRequestSchema, { email }));
}

/** Field 1 with these bytes, encoded as a length-delimited field. */
function field1(bytes: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from([0x0a, bytes.length]), bytes]);
}

const BAD_GRPC: [string, Record<string, string | string[]>, Uint8Array[], number, string][] = [
  ["no message", GRPC, [], Code.UNIMPLEMENTED, "NOT_IMPLEMENTED"],
  ["two messages", GRPC, [envelope(loginBytes()), envelope(loginBytes())], Code.UNIMPLEMENTED, "NOT_IMPLEMENTED"],
  [
    "a message over the limit",
    GRPC,
    [envelope(new Uint8Array(LIMIT + 1))],
    Code.RESOURCE_EXHAUSTED,
    "MESSAGE_TOO_LARGE",
  ],
  [
    "a length of 4 GiB without the bytes",
    GRPC,
    [Buffer.from([0, 255, 255, 255, 255])],
    Code.RESOURCE_EXHAUSTED,
    "MESSAGE_TOO_LARGE",
  ],
  [
    "a small message that grows over the limit when decompressed",
    { ...GRPC, "grpc-encoding": "gzip" },
    [envelope(gzipSync(loginBytes("x".repeat(LIMIT + 1))), 1)],
    Code.RESOURCE_EXHAUSTED,
    "MESSAGE_TOO_LARGE",
  ],
  [
    "an unknown encoding",
    { ...GRPC, "grpc-encoding": "zstd" },
    [envelope(loginBytes())],
    Code.UNIMPLEMENTED,
    "NOT_IMPLEMENTED",
  ],
  [
    "a timeout without a unit",
    { ...GRPC, "grpc-timeout": "10" },
    [envelope(loginBytes())],
    Code.INVALID_ARGUMENT,
    "MESSAGE_INVALID",
  ],
  [
    "a timeout of nine digits",
    { ...GRPC, "grpc-timeout": "100000000m" },
    [envelope(loginBytes())],
    Code.INVALID_ARGUMENT,
    "MESSAGE_INVALID",
  ],
  [
    "a negative timeout",
    { ...GRPC, "grpc-timeout": "-1S" },
    [envelope(loginBytes())],
    Code.INVALID_ARGUMENT,
    "MESSAGE_INVALID",
  ],
  ["invalid UTF-8 in protobuf", GRPC, [envelope(field1(Buffer.from([0xff, 0xfe])))], Code.INTERNAL, "MESSAGE_INVALID"],
  ["bytes that are not protobuf", GRPC, [envelope(Buffer.from([0x0a, 0x7f, 1]))], Code.INTERNAL, "MESSAGE_INVALID"],
  [
    "unknown groups in each other, 1,000 deep,",
    GRPC,
    [envelope(Buffer.concat([Buffer.alloc(1000, 0x7b), Buffer.alloc(1000, 0x7c)]))],
    Code.INTERNAL,
    "MESSAGE_INVALID",
  ],
  [
    "JSON nested 30,000 deep",
    { "content-type": "application/grpc+json" },
    [envelope(Buffer.from(`{"email":${"[".repeat(30_000)}${"]".repeat(30_000)}}`))],
    Code.INVALID_ARGUMENT,
    "MESSAGE_INVALID",
  ],
  [
    "a message that is cut off",
    GRPC,
    [envelope(loginBytes()).subarray(0, 7)],
    Code.INVALID_ARGUMENT,
    "MESSAGE_INVALID",
  ],
  [
    "invalid UTF-8 in JSON",
    { "content-type": "application/grpc+json" },
    [envelope(Buffer.concat([Buffer.from('{"email":"'), Buffer.from([0xff]), Buffer.from('"}')]))],
    Code.INVALID_ARGUMENT,
    "MESSAGE_INVALID",
  ],
];

describe("over gRPC,", () => {
  it.each(BAD_GRPC)(
    "a call with %s is refused without a call of a handler",
    async (_name, headers, chunks, code, reason) => {
      const before = logins;
      const finished = wire.finished.length;
      const answer = await send(LOGIN, headers, chunks);
      expect(answer).toMatchObject({
        httpStatus: 200,
        grpcStatus: code,
        reason,
        resetCode: constants.NGHTTP2_NO_ERROR,
      });
      expect(logins).toBe(before);
      expect(wire.finished.slice(finished)).toHaveLength(1);
    },
  );

  it("a call with a message of exactly the maximum size is served", async () => {
    const email = "x".repeat(LIMIT - 4);
    expect(loginBytes(email)).toHaveLength(LIMIT);
    expect((await send(LOGIN, GRPC, [envelope(loginBytes(email))])).grpcStatus).toBe(Code.OK);
  });

  it("a call with the longest timeout that the header can hold is served", async () => {
    const answer = await send(LOGIN, { ...GRPC, "grpc-timeout": "99999999H" }, [envelope(loginBytes())]);
    expect(answer.grpcStatus).toBe(Code.OK);
  });

  it("a call with gzip is served", async () => {
    const answer = await send(LOGIN, { ...GRPC, "grpc-encoding": "gzip" }, [envelope(gzipSync(loginBytes()), 1)]);
    expect(answer.grpcStatus).toBe(Code.OK);
  });

  it("a call with two authorization headers is refused as UNAUTHENTICATED even if each is valid", async () => {
    const headers = { ...GRPC, authorization: "Bearer service" };
    expect((await send(BATCH, headers, [envelope(new Uint8Array())])).grpcStatus).toBe(Code.OK);
    expect(await sendTwoCredentials()).toBe("UNAUTHENTICATED");
  });

  it("BatchVerifyKeys accepts messages of at most 256 KiB", async () => {
    const headers = { ...GRPC, authorization: "Bearer service" };
    // An unknown field fills the message: tag 15, three bytes of length.
    const sized = (size: number) => {
      const length = size - 4;
      const head = [0x7a, (length & 0x7f) | 0x80, ((length >> 7) & 0x7f) | 0x80, length >> 14];
      return envelope(Buffer.concat([Buffer.from(head), Buffer.alloc(length)]));
    };
    expect((await send(BATCH, headers, [sized(256 * 1024)])).grpcStatus).toBe(Code.OK);
    const tooLarge = await send(BATCH, headers, [sized(256 * 1024 + 1)]);
    expect(tooLarge.grpcStatus).toBe(Code.RESOURCE_EXHAUSTED);
  });

  it("a call without a credential is refused before a byte of its message is read", async () => {
    const answer = await send(BATCH, GRPC, [], true);
    expect(answer).toMatchObject({ grpcStatus: Code.UNAUTHENTICATED, resetCode: constants.NGHTTP2_NO_ERROR });
  });

  it("a call of an unknown method or service is refused as UNIMPLEMENTED", async () => {
    for (const path of [
      "/latchkey.v1.AuthService/Logon",
      "/no.such.Service/Login",
      "/",
      "/latchkey.v1.AuthService/login",
    ]) {
      const answer = await send(path, GRPC, [envelope(loginBytes())]);
      expect(answer).toMatchObject({ httpStatus: 200, grpcStatus: Code.UNIMPLEMENTED, reason: "NOT_IMPLEMENTED" });
    }
  });

  it("a wrong content type is refused with HTTP 415", async () => {
    for (const contentType of ["text/plain", "application/grpc2", "application/xml", ""]) {
      expect((await send(LOGIN, { "content-type": contentType }, [])).httpStatus).toBe(415);
    }
  });
});

/**
 * Sends a call with two `authorization` headers and returns how it ended. The frames are written by hand, because
 * node's client refuses to repeat this header.
 */
async function sendTwoCredentials(): Promise<string | undefined> {
  const literal = (name: string, value: string) =>
    Buffer.concat([Buffer.from([0, name.length]), Buffer.from(name), Buffer.from([value.length]), Buffer.from(value)]);
  const frame = (type: number, flags: number, stream: number, payload: Buffer) => {
    const head = Buffer.alloc(9);
    head.writeUIntBE(payload.length, 0, 3);
    head[3] = type;
    head[4] = flags;
    head.writeUInt32BE(stream, 5);
    return Buffer.concat([head, payload]);
  };
  const headers = [
    [":method", "POST"],
    [":scheme", "http"],
    [":path", BATCH],
    [":authority", wire.address],
    ["content-type", "application/grpc"],
    ["authorization", "Bearer service"],
    ["authorization", "Bearer service"],
  ].map(([name, value]) => literal(name!, value!));
  const finished = wire.finished.length;
  const socket = connectTcp(wire.port, "127.0.0.1");
  socket.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
  socket.write(frame(4, 0, 0, Buffer.alloc(0)));
  socket.write(frame(1, 0x4, 1, Buffer.concat(headers)));
  socket.write(frame(0, 0x1, 1, envelope(new Uint8Array())));
  await until(() => wire.finished.length > finished);
  socket.destroy();
  return wire.finished[finished]?.[1];
}

describe("over Connect on HTTP/1.1,", () => {
  const post = (path: string, body: string | Uint8Array, headers: Record<string, string> = {}) =>
    fetch(`http://${wire.address}${path}`, {
      method: "POST",
      headers: { "content-type": "application/json", ...headers },
      body: body as never,
    });

  it.each([
    ["a body that is not JSON", "{", {}, 400, "invalid_argument"],
    ["a field of the wrong type", '{"email": 5}', {}, 400, "invalid_argument"],
    [
      "invalid UTF-8",
      Buffer.concat([Buffer.from('{"email":"'), Buffer.from([0xff]), Buffer.from('"}')]),
      {},
      400,
      "invalid_argument",
    ],
    ["a lone surrogate", '{"email":"\\ud800"}', {}, 400, "invalid_argument"],
    ["a body over the limit", JSON.stringify({ email: "x".repeat(LIMIT) }), {}, 429, "resource_exhausted"],
    ["a bad timeout", "{}", { "connect-timeout-ms": "1s" }, 400, "invalid_argument"],
    ["an unknown encoding", "{}", { "content-encoding": "zstd" }, 501, "unimplemented"],
  ] as const)(
    "a call with %s is refused with one ErrorInfo, and the error does not repeat the input",
    async (name, body, headers, status, code) => {
      const response = await post(LOGIN, body, headers);
      const answer = (await response.json()) as { code: string; message: string; details: { type: string }[] };
      expect([response.status, answer.code]).toEqual([status, code]);
      const namesAField = /wrong type|surrogate/.test(name) ? ["google.rpc.BadRequest"] : [];
      expect(answer.details.map(({ type }) => type)).toEqual(["google.rpc.ErrorInfo", ...namesAField]);
      expect(answer.message).not.toMatch(/email|xxx|zstd|JSON/);
    },
  );

  it("a method that does not exist is answered with 404 and unimplemented", async () => {
    const response = await post("/latchkey.v1.AuthService/Logon", "{}");
    expect([response.status, await response.json()]).toMatchObject([404, { code: "unimplemented" }]);
  });

  it("GET is refused with 405, because keys must not get into URLs", async () => {
    const response = await fetch(
      `http://${wire.address}/latchkey.v1.KeyService/VerifyKey?encoding=json&message=%7B%7D`,
    );
    expect(response.status).toBe(405);
  });

  it("a wrong content type is refused with HTTP 415", async () => {
    expect((await post(LOGIN, "{}", { "content-type": "text/plain" })).status).toBe(415);
  });
});
