/** Envoy in front of the service, as in many installations: HTTP/1.1 and HTTP/2 outside, HTTP/2 without TLS inside. */
import { spawn } from "node:child_process";
import { setTimeout as pause } from "node:timers/promises";
import { freePort } from "./smoke-service.ts";

export interface RunningEnvoy extends AsyncDisposable {
  /** host:port */
  readonly address: string;
}

const READY_WITHIN_MS = 30_000;

/** Starts Envoy. @throws Error with its output if it ends before it answers, or does not answer within 30 s */
export async function startEnvoy(upstream: string): Promise<RunningEnvoy> {
  const port = await freePort();
  const flags = ["--disable-hot-restart", "--concurrency", "1", "--log-level", "warning"];
  const child = spawn("envoy", ["--config-yaml", JSON.stringify(configuration(port, upstream)), ...flags]);
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => (output += chunk));
  const ended = new Promise<void>((resolve) => child.once("close", () => resolve()));
  child.once("error", (error) => (output += error.message));
  const stop = async () => {
    child.kill("SIGKILL");
    await ended;
  };

  const end = performance.now() + READY_WITHIN_MS;
  while (!(await answers(`http://127.0.0.1:${port}/.well-known/jwks.json`))) {
    if (child.pid === undefined || child.exitCode !== null || performance.now() > end) {
      await stop();
      throw new Error(`envoy did not get ready:\n${output}`);
    }
    await pause(20);
  }
  return { address: `127.0.0.1:${port}`, [Symbol.asyncDispose]: stop };
}

/**
 * Makes one call by gRPC-Web, as a browser does. A frame is a byte for its kind, four for its length, and the message.
 * The last frame of an answer has the trailers.
 */
export async function callByGrpcWeb(url: string, body: object, credential: string) {
  const message = Buffer.from(JSON.stringify(body));
  const head = Buffer.alloc(5);
  head.writeUInt32BE(message.length, 1);
  const response = await fetch(url, {
    method: "POST",
    headers: { "content-type": "application/grpc-web+json", authorization: `Bearer ${credential}` },
    body: Buffer.concat([head, message]),
  });
  const answer = Buffer.from(await response.arrayBuffer());
  const end = 5 + answer.readUInt32BE(1);
  return {
    server: response.headers.get("server"),
    message: answer.toString("utf8", 5, end),
    status: /^grpc-status: ?(\d+)\r?$/im.exec(answer.toString("utf8", end + 5))?.[1],
  };
}

async function answers(url: string): Promise<boolean> {
  return fetch(url).then(
    ({ ok }) => ok,
    () => false,
  );
}

function configuration(port: number, upstream: string) {
  const extension = (name: string, type: string, settings: object = {}) => ({
    name,
    typed_config: { "@type": `type.googleapis.com/envoy.extensions.${type}`, ...settings },
  });
  const [host, upstreamPort] = upstream.split(":");
  const socket = (address: string, port_value: number) => ({ address: { socket_address: { address, port_value } } });
  const route_config = {
    virtual_hosts: [
      { name: "all", domains: ["*"], routes: [{ match: { prefix: "/" }, route: { cluster: "latchkey" } }] },
    ],
  };
  const connections = extension(
    "envoy.filters.network.http_connection_manager",
    "filters.network.http_connection_manager.v3.HttpConnectionManager",
    {
      stat_prefix: "latchkey",
      route_config,
      http_filters: [extension("envoy.filters.http.router", "filters.http.router.v3.Router")],
    },
  );
  const http2 = extension("", "upstreams.http.v3.HttpProtocolOptions", {
    explicit_http_config: { http2_protocol_options: {} },
  }).typed_config;
  const endpoints = [{ lb_endpoints: [{ endpoint: socket(host!, Number(upstreamPort)) }] }];
  return {
    static_resources: {
      listeners: [{ name: "outside", ...socket("127.0.0.1", port), filter_chains: [{ filters: [connections] }] }],
      clusters: [
        {
          name: "latchkey",
          load_assignment: { cluster_name: "latchkey", endpoints },
          typed_extension_protocol_options: { "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": http2 },
        },
      ],
    },
  };
}
