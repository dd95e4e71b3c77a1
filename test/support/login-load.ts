/** A process of its own that logs in many times at once, so that what it costs the asker is no part of a measurement. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { setTimeout as pause } from "node:timers/promises";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { RetryInfoSchema } from "../../src/gen/google/rpc/error_details_pb.ts";
import { AuthService } from "../../src/gen/latchkey/v1/auth_service_pb.ts";

export interface LoginLoad {
  readonly address: string;
  /** How many at once, ... */
  readonly logins: number;
  /** ... and how often, one second after the last began: when who was refused is told to come back. */
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

/** Each login is a guess at another account from another network, so that no throttle helps. Wants trusted proxies. */
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

async function logIn({ address, logins, waves }: LoginLoad): Promise<LoginEnd[]> {
  const clients = Array.from({ length: CONNECTIONS }, () =>
    createClient(AuthService, createGrpcTransport({ baseUrl: `http://${address}` })),
  );
  const one = async (n: number): Promise<LoginEnd> => {
    const headers = { "x-forwarded-for": `10.${(n >> 8) & 255}.${n & 255}.1` };
    const guess = { email: `nobody-${n}@example.com`, password: "violet harbour engine quilt" };
    const startMs = performance.now();
    const error = await clients[n % CONNECTIONS]!.login(guess, { headers }).then(() => undefined, ConnectError.from);
    return {
      said: error === undefined ? "OK" : (Code[error.code] as string),
      tookMs: performance.now() - startMs,
      hasRetryInfo: (error?.findDetails(RetryInfoSchema).length ?? 0) > 0,
    };
  };
  // So that connecting is no part of it.
  await Promise.all(clients.map((client) => client.logout({ refreshToken: "" })));
  const ends: Promise<LoginEnd>[] = [];
  for (let wave = 0; wave < waves; wave++) {
    for (let n = 0; n < logins; n++) ends.push(one(wave * logins + n));
    await pause(1000);
  }
  return Promise.all(ends);
}

if (process.argv[1] === import.meta.filename) {
  process.stdout.write(JSON.stringify(await logIn(JSON.parse(process.argv[2]!) as LoginLoad)));
}
