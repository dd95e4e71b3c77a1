/** A storm of logins in a process of its own, so that the cost of making the calls is no part of a measurement. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { type ClientHttp2Session, connect } from "node:http2";
import { setTimeout as pause } from "node:timers/promises";
import { create, toBinary } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import { RetryInfoSchema } from "../../src/gen/google/rpc/error_details_pb.ts";
import { LoginRequestSchema } from "../../src/gen/latchkey/v1/auth_service_pb.ts";

export interface LoginLoad {
  readonly address: string;
  /** Number of clients. */
  readonly logins: number;
  /**
   * Number of logins of each client. The first logins come all at once. Then each client logs in once a second, at a
   * moment of its own, because a refusal tells a client to wait that long.
   */
  readonly waves: number;
}

/** How one login ended. */
export interface LoginEnd {
  /** Name of the gRPC code. */
  readonly said: string;
  readonly tookMs: number;
  readonly hasRetryInfo: boolean;
}

const CONNECTIONS = 20;

/** Each login guesses at another account from another network, so that no throttle applies. Needs trusted proxies. */
export async function loadLogins(load: LoginLoad): Promise<readonly LoginEnd[]> {
  const child = spawn(process.execPath, [import.meta.filename, JSON.stringify(load)], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const kill = () => child.kill("SIGKILL");
  process.once("exit", kill);
  let output = "";
  child.stdout.on("data", (chunk: Buffer) => {
    output += chunk;
  });
  await once(child, "close");
  process.off("exit", kill);
  return JSON.parse(output) as LoginEnd[];
}

/**
 * Logs in directly over HTTP/2, with messages made before: on a small machine a client's own work would dominate the
 * measurement.
 */
async function logIn({ address, logins, waves }: LoginLoad): Promise<LoginEnd[]> {
  const sessions = Array.from({ length: CONNECTIONS }, () => connect(`http://${address}`));
  await Promise.all(sessions.map((session) => once(session, "connect")));
  const frames = Array.from({ length: waves * logins }, (_, n) => frameOf(`nobody-${n}@example.com`));
  const ends: Promise<LoginEnd>[] = [];
  const startMs = performance.now();
  for (let n = 0; n < waves * logins; n++) {
    const dueMs = n < logins ? 0 : (n / logins) * 1000;
    const waitMs = startMs + dueMs - performance.now();
    if (waitMs > 0) await pause(waitMs);
    ends.push(one(sessions[n % CONNECTIONS]!, frames[n]!, `10.${(n >> 8) & 255}.${n & 255}.1`));
  }
  const all = await Promise.all(ends);
  for (const session of sessions) session.close();
  return all;
}

function frameOf(email: string): Buffer {
  const login = create(LoginRequestSchema, { email, password: "violet harbour engine quilt" });
  const body = toBinary(LoginRequestSchema, login);
  return Buffer.concat([Buffer.from([0, 0, 0, 0, body.length]), body]);
}

function one(session: ClientHttp2Session, frame: Buffer, ip: string): Promise<LoginEnd> {
  const startMs = performance.now();
  const stream = session.request({
    ":method": "POST",
    ":path": "/latchkey.v1.AuthService/Login",
    "content-type": "application/grpc",
    te: "trailers",
    "x-forwarded-for": ip,
  });
  const { promise, resolve, reject } = Promise.withResolvers<LoginEnd>();
  const note = (headers: NodeJS.Dict<unknown>) => {
    if (headers["grpc-status"] === undefined) return;
    const details = Buffer.from(String(headers["grpc-status-details-bin"] ?? ""), "base64").toString("latin1");
    const said = Code[Number(headers["grpc-status"])] ?? "OK";
    resolve({ said, tookMs: performance.now() - startMs, hasRetryInfo: details.includes(RetryInfoSchema.typeName) });
  };
  stream.on("response", note);
  stream.on("trailers", note);
  stream.once("error", reject);
  stream.resume();
  stream.end(frame);
  return promise;
}

if (process.argv[1] === import.meta.filename) {
  process.stdout.write(JSON.stringify(await logIn(JSON.parse(process.argv[2]!) as LoginLoad)));
}
