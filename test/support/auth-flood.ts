/** A flood of AuthService at a steady rate, in a process of its own, so that its cost does not disturb the test. */
import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { type ClientHttp2Session, connect } from "node:http2";
import { setTimeout as pause } from "node:timers/promises";
import { create, toBinary } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import { CompletePasswordResetRequestSchema, LoginRequestSchema } from "../../src/gen/latchkey/v1/auth_service_pb.ts";
import { checksum62 } from "../../src/lib/base62.ts";

export interface AuthFlood {
  readonly address: string;
  /**
   * Wrong passwords for one made-up account, or for a new one each time, or made-up reset tokens. Malformed logins are
   * a harmless control of the same size: their passwords are invalid.
   */
  readonly what: "logins to one account" | "logins to any account" | "reset tokens" | "malformed logins";
  readonly from: "one address" | "one /48";
  readonly perSecond: number;
}

/** The number of answers so far, by code. */
export type FloodTally = Readonly<Record<string, number>>;

const CONNECTIONS = 4;
const BURST_MS = 10;
/** Maximum calls under way, so that a slow machine gets fewer calls a second. */
const MOST_UNDER_WAY = 60;

/** Starts the flood. The service must trust 127.0.0.0/8 as a proxy. `stop` ends the flood and returns its tally. */
export function startFlood(flood: AuthFlood) {
  const child = spawn(process.execPath, [import.meta.filename, JSON.stringify(flood)], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const kill = () => child.kill("SIGKILL");
  process.once("exit", kill);
  let output = "";
  child.stdout.on("data", (chunk: Buffer) => {
    output += chunk;
  });
  const latest = (): FloodTally => JSON.parse(output.trim().split("\n").at(-1) || "{}") as FloodTally;
  return { latest, stop: () => stop(child, kill).then(latest) };
}

async function stop(child: ChildProcess, kill: () => void): Promise<void> {
  child.stdin?.end();
  await once(child, "close");
  process.off("exit", kill);
}

/** Writes the tally as a line ten times a second, until its standard input ends. */
async function run({ address, what, from, perSecond }: AuthFlood): Promise<void> {
  const sessions = Array.from({ length: CONNECTIONS }, () => connect(`http://${address}`));
  await Promise.all(sessions.map((session) => once(session, "connect")));
  const tally: Record<string, number> = {};
  let isOver = false;
  process.stdin.resume().once("end", () => {
    isOver = true;
  });
  let [due, underWay] = [0, 0];
  const startMs = performance.now();
  const told = setInterval(() => process.stdout.write(`${JSON.stringify(tally)}\n`), 100);
  while (!isOver) {
    for (const until = ((performance.now() - startMs) / 1000) * perSecond; due < until; due++) {
      if (underWay >= MOST_UNDER_WAY) continue;
      underWay++;
      const ip = from === "one address" ? "198.51.100.7" : `2001:db8:99:${(due & 0xffff).toString(16)}::1`;
      void one(sessions[due % CONNECTIONS]!, what, ip).then((said) => {
        underWay--;
        tally[said] = (tally[said] ?? 0) + 1;
      });
    }
    await pause(BURST_MS);
  }
  clearInterval(told);
  process.stdout.write(`${JSON.stringify(tally)}\n`);
  for (const session of sessions) session.destroy();
}

function one(session: ClientHttp2Session, what: AuthFlood["what"], ip: string): Promise<string> {
  const stream = session.request({
    ":method": "POST",
    ":path": `/latchkey.v1.AuthService/${what === "reset tokens" ? "CompletePasswordReset" : "Login"}`,
    "content-type": "application/grpc",
    te: "trailers",
    "x-forwarded-for": ip,
  });
  const { promise, resolve } = Promise.withResolvers<string>();
  const note = (headers: NodeJS.Dict<unknown>) => {
    if (headers["grpc-status"] === undefined) return;
    const details = Buffer.from(String(headers["grpc-status-details-bin"] ?? ""), "base64").toString("latin1");
    const [reason] = /[A-Z]+(?:_[A-Z]+)+|OVERLOADED/.exec(details) ?? [];
    resolve(reason ?? Code[Number(headers["grpc-status"])] ?? "OK");
  };
  stream.on("response", note);
  stream.on("trailers", note);
  stream.once("error", () => resolve("broken"));
  stream.resume();
  stream.end(frameOf(what));
  return promise;
}

function frameOf(what: AuthFlood["what"]): Buffer {
  const body = what === "reset tokens" ? resetOf() : loginOf(what);
  return Buffer.concat([Buffer.from([0, 0, 0, 0, body.length]), body]);
}

function resetOf(): Uint8Array {
  const unchecked = `kit_reset_${randomBytes(64).toString("base64").replace(/[+/=]/g, "").slice(0, 43)}`;
  const resetToken = unchecked + checksum62(unchecked);
  const request = { resetToken, newPassword: "violet harbour engine quilt" };
  return toBinary(CompletePasswordResetRequestSchema, create(CompletePasswordResetRequestSchema, request));
}

function loginOf(what: AuthFlood["what"]): Uint8Array {
  const name = what === "logins to one account" ? "nobody" : randomBytes(6).toString("hex");
  const password = what === "malformed logins" ? "\0".repeat(27) : "violet harbour engine quilt";
  const request = { email: `${name}@example.com`, password };
  return toBinary(LoginRequestSchema, create(LoginRequestSchema, request));
}

if (process.argv[1] === import.meta.filename) await run(JSON.parse(process.argv[2]!) as AuthFlood);
