/**
 * The front door with the ConformanceService of https://github.com/connectrpc/conformance behind it, as
 * connectconformance starts it: a ServerCompatRequest on standard input, a ServerCompatResponse on standard output,
 * each behind its length. `node server.ts unary|connect` says by which lane unary gRPC goes.
 *
 * conformance.binpb has the descriptors of service.proto, config.proto and server_compat.proto (Apache-2.0, v1.0.7):
 * `buf build --exclude-source-info -o conformance.binpb` in a folder with those three.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import {
  create,
  createFileRegistry,
  type DescMessage,
  type DescMethod,
  fromBinary,
  type Message,
  toBinary,
} from "@bufbuild/protobuf";
import { type Any, anyPack, FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { type Code, ConnectError } from "@connectrpc/connect";
import { systemClock } from "../../src/lib/clock.ts";
import type { Call } from "../../src/rpc/call.ts";
import type { LiveCall } from "../../src/rpc/calls/live-call.ts";
import { bind } from "../../src/rpc/routes.ts";
import { RpcServer } from "../../src/rpc/server.ts";
import { HealthRegistry } from "../../src/rpc/standard/health.ts";

interface Header {
  readonly name: string;
  readonly value: readonly string[];
}

interface ResponseDefinition {
  readonly responseHeaders: readonly Header[];
  readonly responseTrailers: readonly Header[];
  readonly responseDelayMs: number;
  readonly response:
    | { readonly case: "responseData"; readonly value: Uint8Array }
    | { readonly case: "error"; readonly value: { code: Code; message?: string; details: Any[] } }
    | { readonly case: undefined };
}

type UnaryRequest = Message & { readonly responseDefinition?: ResponseDefinition };

/** All request headers that the suite sends and wants to see again. */
const ECHOED_HEADERS = ["x-conformance-test", "x-custom-header"];

const descriptors = readFileSync(join(import.meta.dirname, "conformance.binpb"));
const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, descriptors));
const PACKAGE = "connectrpc.conformance.v1";
const service = registry.getService(`${PACKAGE}.ConformanceService`)!;
const message = (name: string): DescMessage => registry.getMessage(`${PACKAGE}.${name}`)!;

const server = await startServer(process.argv[2] === "unary");
const [host, port] = server.address.split(":");
process.stdout.write(
  sized(
    toBinary(message("ServerCompatResponse"), create(message("ServerCompatResponse"), { host, port: Number(port) })),
  ),
);

async function startServer(unaryLane: boolean): Promise<{ address: string }> {
  await readRequest();
  const log = { info: () => {}, warn: () => {}, error: () => {}, flush: () => {} };
  const rpc = new RpcServer(
    {
      clock: systemClock,
      log,
      clientIp: (head) => head.peerAddress,
      resolveCaller: () => ({ kind: "anonymous" }),
      checkAccess: () => {},
      accessRule: () => "anyone",
      isChange: () => false,
      jwks: async () => ({ keys: [] }),
      health: new HealthRegistry(),
    },
    [bind(service, { unary: answer, idempotentUnary: answer } as never)],
    { host: "127.0.0.1", port: 0, reflection: false, corsOrigins: [], drainMs: 0, unaryLane },
  );
  return { address: await rpc.start() };
}

/** All of standard input as it is now: the one message. What it asks for, this server always does. */
async function readRequest(): Promise<void> {
  let bytes = Buffer.alloc(0);
  for await (const chunk of process.stdin) {
    bytes = Buffer.concat([bytes, chunk as Buffer]);
    if (bytes.length >= 4 && bytes.length >= 4 + bytes.readUInt32BE(0)) return;
  }
}

/** Unary and IdempotentUnary: the definition in the request says how to answer. */
async function answer(request: UnaryRequest, call: Call): Promise<object> {
  const definition = request.responseDefinition;
  for (const { name, value } of definition?.responseHeaders ?? []) {
    for (const each of value) call.addHeader(name.toLowerCase(), each);
  }
  for (const { name, value } of definition?.responseTrailers ?? []) {
    for (const each of value) call.addTrailer(name.toLowerCase(), each);
  }
  const requestInfo = requestInfoOf(call, call.method, request);
  await delay(definition?.responseDelayMs ?? 0);
  const response = definition?.response;
  if (response?.case !== "error") {
    return { payload: { requestInfo, ...(response?.case === "responseData" && { data: response.value }) } };
  }
  const { code, message: text, details } = response.value;
  const info = { desc: message("ConformancePayload.RequestInfo"), value: requestInfo };
  throw new ConnectError(text ?? "", code, undefined, [...details.map(outgoing), info as never]);
}

function requestInfoOf(call: Call, method: DescMethod, request: Message): object {
  const head = (call as LiveCall).head;
  const timeoutMs = call.remainingMs();
  return {
    requestHeaders: ECHOED_HEADERS.map((name) => ({ name, value: [...head.header(name)] })).filter(
      ({ value }) => value.length > 0,
    ),
    ...(head.header("grpc-timeout").length > 0 && { timeoutMs: BigInt(Math.floor(timeoutMs)) }),
    requests: [anyPack(method.input, request)],
  };
}

/** As Connect keeps details that were read from the wire. */
function outgoing(any: Any): never {
  return { type: any.typeUrl.slice(any.typeUrl.lastIndexOf("/") + 1), value: any.value } as never;
}

function sized(bytes: Uint8Array): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length);
  return Buffer.concat([length, bytes]);
}
