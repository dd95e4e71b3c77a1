/**
 * A flood that keeps many calls under way in a process of its own, so that it does not slow the clients of the test. It
 * has 100 calls on each connection, which is the maximum of a client that is no service.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { type ClientHttp2Session, connect } from "node:http2";
import { createInterface } from "node:readline";
import { setTimeout as pause } from "node:timers/promises";
import { create, type DescMethodUnary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import { RetryInfoSchema } from "../../src/gen/google/rpc/error_details_pb.ts";
import { grpcMessage } from "./raw-http2.ts";

export interface Flood {
  /** Ends the flood. Returns how its calls ended. */
  stop(): Promise<FloodEnds>;
}

export interface FloodEnds {
  /** Number of calls by code and reason, such as `ResourceExhausted OVERLOADED`. */
  readonly counts: Readonly<Record<string, number>>;
  /** Number of refusals with OVERLOADED that had RetryInfo. */
  readonly withRetryInfo: number;
}

interface Order {
  readonly address: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  /** The request message in base64. */
  readonly message: string;
  readonly atOnce: number;
  /** Pause of a refused caller. The callers begin one after the other within this time. */
  readonly restMs: number;
}

/** Resolves when the first call has ended. */
export async function startFlood<I extends DescMethodUnary>(
  address: string,
  method: I,
  request: MessageInitShape<I["input"]>,
  { headers = {}, atOnce, restMs }: { headers?: Record<string, string>; atOnce: number; restMs: number },
): Promise<Flood> {
  const message = Buffer.from(toBinary(method.input, create(method.input, request))).toString("base64");
  const path = `/${method.parent.typeName}/${method.name}`;
  const order: Order = { address, path, headers, message, atOnce, restMs };
  const child = spawn(process.execPath, [import.meta.filename], { stdio: ["pipe", "pipe", "inherit"] });
  // Not an argument, because Linux bounds the size of one.
  child.stdin.write(`${JSON.stringify(order)}\n`);
  const kill = () => child.kill("SIGKILL");
  process.once("exit", kill);
  const closed = once(child, "close");
  void closed.then(() => process.off("exit", kill));
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  await lines.next();
  return {
    async stop() {
      child.stdin.end();
      const { value } = await lines.next();
      await closed;
      return JSON.parse(value as string) as FloodEnds;
    },
  };
}

/** Calls on a connection. */
const STREAMS = 100;

async function run(): Promise<void> {
  const input = createInterface({ input: process.stdin });
  const [line] = await once(input, "line");
  const over = once(input, "close");
  const order = JSON.parse(line) as Order;
  const sessions = Array.from({ length: Math.ceil(order.atOnce / STREAMS) }, () =>
    connect(`http://${order.address}`, { settings: { initialWindowSize: 1024 * 1024 } }),
  );
  await Promise.all(sessions.map((session) => once(session, "connect")));
  const body = Buffer.from(order.message, "base64");
  const frame = grpcMessage(body);
  const counts: Record<string, number> = {};
  let withRetryInfo = 0;
  let isOver = false;
  let ended = 0;
  const caller = async (_: unknown, n: number) => {
    // The callers begin one after the other, so that the load is not one burst.
    await pause((n / order.atOnce) * order.restMs);
    while (!isOver) {
      const { said, hasRetryInfo } = await callOnce(sessions[n % sessions.length]!, order, frame);
      if (isOver) return;
      counts[said] = (counts[said] ?? 0) + 1;
      if (hasRetryInfo && said.endsWith(" OVERLOADED")) withRetryInfo++;
      if (ended++ === 0) process.stdout.write("begun\n");
      if (said !== "OK" && order.restMs > 0) await pause(order.restMs);
    }
  };
  const callers = Promise.all(Array.from({ length: order.atOnce }, caller));
  await Promise.race([over, callers]);
  isOver = true;
  process.stdout.write(`${JSON.stringify({ counts, withRetryInfo })}\n`, () => process.exit(0));
}

function callOnce(session: ClientHttp2Session, { path, headers }: Order, frame: Buffer) {
  const stream = session.request({
    ":method": "POST",
    ":path": path,
    "content-type": "application/grpc",
    te: "trailers",
    ...headers,
  });
  const { promise, resolve } = Promise.withResolvers<{ said: string; hasRetryInfo: boolean }>();
  const note = (fields: NodeJS.Dict<unknown>) => {
    if (fields["grpc-status"] === undefined) return;
    const details = Buffer.from(String(fields["grpc-status-details-bin"] ?? ""), "base64").toString("latin1");
    const code = Code[Number(fields["grpc-status"])] ?? "OK";
    const [reason = ""] = /OVERLOADED|[A-Z]{4,}(_[A-Z]+)+/.exec(details) ?? [];
    resolve({ said: `${code} ${reason}`.trim(), hasRetryInfo: details.includes(RetryInfoSchema.typeName) });
  };
  stream.on("response", note);
  stream.on("trailers", note);
  stream.once("error", () => resolve({ said: "cut off", hasRetryInfo: false }));
  stream.resume();
  stream.end(frame);
  return promise;
}

if (process.argv[1] === import.meta.filename) await run();
