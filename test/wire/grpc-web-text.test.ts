import { once } from "node:events";
import { request as httpRequest } from "node:http";
import { connect } from "node:http2";
import { create, type DescMessage, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { LoginRequestSchema, LoginResponseSchema } from "../../src/gen/latchkey/v1/auth_service_pb.ts";
import {
  VerifyKeyRequestSchema,
  WatchRevocationsRequestSchema,
  WatchRevocationsResponseSchema,
} from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { bytesOfText } from "../../src/rpc/lanes/grpc-web-text.ts";
import { type FrontDoor, startFrontDoor } from "../support/front-door.ts";
import { grpcMessage } from "../support/raw-http2.ts";
import { until } from "../support/until.ts";

const LOGIN = "/latchkey.v1.AuthService/Login";
const VERIFY = "/latchkey.v1.KeyService/VerifyKey";
const WATCH = "/latchkey.v1.KeyService/WatchRevocations";
const SERVICE = { authorization: "Bearer service" };
const ORIGIN = "https://app.example";
const TRAILERS = 0x80;

let wire: FrontDoor;
let told = Promise.withResolvers<void>();
beforeAll(async () => {
  wire = await startFrontDoor({
    auth: {
      login: async ({ email, password }) => {
        if (password === "slow") await new Promise(() => {});
        return { user: { email } };
      },
    },
    keys: {
      async *watchRevocations({ cursor }) {
        yield { cursor: `${cursor}1` };
        await told.promise;
        yield { cursor: `${cursor}22` };
      },
    },
    options: { corsOrigins: [ORIGIN] },
  });
});
afterAll(() => wire.server.stop());

interface Answer {
  readonly status: number;
  readonly contentType: string;
  /** The pieces of the answer that have come. The list grows until the answer ends. */
  readonly pieces: string[];
  readonly ended: Promise<void>;
}

type Send = (path: string, body: readonly string[], headers?: Record<string, string>) => Promise<Answer>;

const overHttp1: Send = async (path, body, headers = {}) => {
  const request = httpRequest(`http://${wire.address}${path}`, { method: "POST", headers: textHeaders(headers) });
  for (const piece of body) request.write(piece);
  request.end();
  const [response] = await once(request, "response");
  const pieces: string[] = [];
  response.on("data", (piece: Buffer) => pieces.push(piece.toString("latin1")));
  const ended = once(response, "end").then(() => {});
  return { status: response.statusCode, contentType: response.headers["content-type"], pieces, ended };
};

const overHttp2: Send = async (path, body, headers = {}) => {
  const session = connect(`http://${wire.address}`);
  const stream = session.request({ ":method": "POST", ":path": path, ...textHeaders(headers) });
  for (const piece of body) stream.write(piece);
  stream.end();
  const [head] = await once(stream, "response");
  const pieces: string[] = [];
  stream.on("data", (piece: Buffer) => pieces.push(piece.toString("latin1")));
  const ended = once(stream, "end").then(() => session.close());
  return { status: head[":status"], contentType: head["content-type"], pieces, ended };
};

function textHeaders(headers: Record<string, string>): Record<string, string> {
  return { "content-type": "application/grpc-web-text", "x-grpc-web": "1", ...headers };
}

function base64<D extends DescMessage>(schema: D, message: MessageInitShape<D>): string {
  return grpcMessage(toBinary(schema, create(schema, message))).toString("base64");
}

/** The frames of a base64 text that may have padding anywhere. Some clients decode it four characters at a time. */
function framesOf(text: string): { flags: number; data: Buffer }[] {
  expect(text.length % 4).toBe(0);
  let bytes = Buffer.concat((text.match(/.{4}/gs) ?? []).map((quad) => Buffer.from(quad, "base64")));
  const frames: { flags: number; data: Buffer }[] = [];
  while (bytes.length > 0) {
    const end = 5 + bytes.readUInt32BE(1);
    frames.push({ flags: bytes[0]!, data: bytes.subarray(5, end) });
    bytes = bytes.subarray(end);
  }
  return frames;
}

async function wholeAnswer(answer: Answer): Promise<{ messages: Buffer[]; trailers: string }> {
  await answer.ended;
  expect([answer.status, answer.contentType]).toEqual([200, "application/grpc-web-text+proto"]);
  const frames = framesOf(answer.pieces.join(""));
  expect(frames.at(-1)?.flags).toBe(TRAILERS);
  return { messages: frames.slice(0, -1).map(({ data }) => data), trailers: String(frames.at(-1)?.data) };
}

describe.each([
  ["HTTP/1.1", overHttp1],
  ["HTTP/2", overHttp2],
] as const)("gRPC-Web as text over %s", (_, send) => {
  it("carries a unary call", async () => {
    const answer = await send(LOGIN, [base64(LoginRequestSchema, { email: "ann@example.com" })]);
    const { messages, trailers } = await wholeAnswer(answer);
    expect(messages.map((bytes) => fromBinary(LoginResponseSchema, bytes).user?.email)).toEqual(["ann@example.com"]);
    expect(trailers).toMatch(/^grpc-status: 0\r\n/m);
  });

  it("accepts a request in several padded texts, cut anywhere", async () => {
    const bytes = Buffer.from(base64(LoginRequestSchema, { email: "ann@example.com" }), "base64");
    const texts = [bytes.subarray(0, 1), bytes.subarray(1, 6), bytes.subarray(6)].map((part) =>
      part.toString("base64"),
    );
    expect(texts.join("")).toMatch(/=.*=[^=]/);
    const { messages } = await wholeAnswer(await send(LOGIN, [...texts.join("")]));
    expect(messages).toHaveLength(1);
  });

  it("carries a stream, and sends each message as soon as the handler yields it", async () => {
    told = Promise.withResolvers<void>();
    const answer = await send(WATCH, [base64(WatchRevocationsRequestSchema, { cursor: "c" })], SERVICE);
    await until(() => answer.pieces.length > 0);
    const cursors = (text: string) =>
      framesOf(text).flatMap(({ flags, data }) =>
        flags === 0 ? fromBinary(WatchRevocationsResponseSchema, data).cursor : [],
      );
    expect(cursors(answer.pieces.join(""))).toEqual(["c1"]);
    told.resolve();
    const { trailers } = await wholeAnswer(answer);
    expect(cursors(answer.pieces.join(""))).toEqual(["c1", "c22"]);
    expect(trailers).toContain("grpc-status: 0");
  });

  it.each<[what: string, path: string, body: string, headers: Record<string, string>, status: number]>([
    ["no credential", VERIFY, base64(VerifyKeyRequestSchema, { apiKey: "k" }), {}, 16],
    ["text that is not base64", LOGIN, "AAAA$AAA", {}, 3],
    ["base64 without its end", LOGIN, base64(LoginRequestSchema, { email: "ann" }).slice(0, -1), {}, 3],
    ["padding of three", LOGIN, "A===", {}, 3],
    ["base64url", LOGIN, "AAAAAA__", {}, 3],
    ["a message over the limit", LOGIN, base64(LoginRequestSchema, { email: "a".repeat(70_000) }), {}, 8],
    ["a deadline that passes", LOGIN, base64(LoginRequestSchema, { password: "slow" }), { "grpc-timeout": "50m" }, 4],
    ["a deadline that can't be parsed", LOGIN, base64(LoginRequestSchema, {}), { "grpc-timeout": "soon" }, 3],
    ["an unknown encoding", LOGIN, base64(LoginRequestSchema, {}), { "grpc-encoding": "x" }, 12],
    ["no message", LOGIN, "", {}, 12],
  ])("answers %s with the status that the binary form has", async (_what, path, body, headers, status) => {
    const { messages, trailers } = await wholeAnswer(await send(path, body === "" ? [] : [body], headers));
    expect(messages).toEqual([]);
    expect(trailers).toMatch(new RegExp(`^grpc-status: ${status}\r?$`, "m"));
  });

  it("answers UNIMPLEMENTED for a method that does not exist", async () => {
    const answer = await send("/latchkey.v1.AuthService/Nothing", [base64(LoginRequestSchema, {})]);
    expect([answer.status, answer.contentType]).toEqual([200, "application/grpc-web-text"]);
  });

  it("accepts the content type with its suffix in any letter case, and JSON", async () => {
    for (const type of ["application/grpc-web-text+proto", "Application/gRPC-Web-Text"]) {
      const answer = await send(LOGIN, [base64(LoginRequestSchema, { email: "ann" })], { "content-type": type });
      expect((await wholeAnswer(answer)).messages).toHaveLength(1);
    }
    const json = grpcMessage(Buffer.from('{"email":"ann"}')).toString("base64");
    const answer = await send(LOGIN, [json], { "content-type": "application/grpc-web-text+json" });
    await answer.ended;
    expect(answer.contentType).toBe("application/grpc-web-text+json");
    expect(JSON.parse(String(framesOf(answer.pieces.join(""))[0]?.data))).toMatchObject({ user: { email: "ann" } });
  });
});

it("a web page of an allowed origin may send gRPC-Web as text", async () => {
  const names = "authorization,content-type,x-grpc-web,x-user-agent,grpc-timeout";
  const preflight = await fetch(`http://${wire.address}${LOGIN}`, {
    method: "OPTIONS",
    headers: { origin: ORIGIN, "access-control-request-method": "POST", "access-control-request-headers": names },
  });
  const allowed = preflight.headers.get("access-control-allow-headers")?.toLowerCase().split(/, */) ?? [];
  expect(names.split(",").filter((name) => !allowed.includes(name))).toEqual([]);
  const response = await fetch(`http://${wire.address}${LOGIN}`, {
    method: "POST",
    headers: textHeaders({ origin: ORIGIN }),
    body: base64(LoginRequestSchema, { email: "ann" }),
  });
  expect(response.headers.get("access-control-allow-origin")).toBe(ORIGIN);
  expect(framesOf(await response.text())).toHaveLength(2);
});

it("base64 in texts of any length and pieces of any size decodes to the bytes that it was made of", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.uint8Array({ maxLength: 20 })), fc.array(fc.nat(9)), async (parts, cuts) => {
      let text = parts.map((part) => Buffer.from(part).toString("base64")).join("");
      const pieces: Buffer[] = [];
      for (const cut of cuts) {
        pieces.push(Buffer.from(text.slice(0, cut)));
        text = text.slice(cut);
      }
      async function* sent() {
        yield* [...pieces, Buffer.from(text)];
      }
      const read: Uint8Array[] = [];
      for await (const bytes of bytesOfText(sent())) read.push(bytes);
      expect(Buffer.concat(read)).toEqual(Buffer.concat(parts));
    }),
  );
});
