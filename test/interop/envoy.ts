/** A real Envoy on examples/envoy/envoy.yaml, and upstreams that tell what reached them. */
import { readFileSync } from "node:fs";
import { createServer as createHttpServer, request as httpRequest, type Server } from "node:http";
import { createServer as createHttp2Server, type Http2Server } from "node:http2";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { parse, stringify } from "yaml";
import { freePort, privateFolder } from "../support/child-process.ts";
import { startEnvoyProcess } from "./envoy-process.ts";

const EXAMPLE = join(import.meta.dirname, "../../examples/envoy/envoy.yaml");

export interface EnvoyOptions {
  /** `host:port` of latchkey. */
  readonly latchkey: string;
  /** Envoy's own credential, scope `verify`. */
  readonly credential: string;
  /** Ports of the service for HTTP/1.1 and for gRPC. */
  readonly upstreams: Upstreams;
  /** Changes the example's configuration. */
  readonly change?: (configuration: EnvoyConfiguration) => void;
}

/** The parsed configuration of the example. */
export interface EnvoyConfiguration {
  /** The filter of this name, such as `envoy.filters.http.ext_authz`. */
  filter(name: string): Record<string, unknown>;
  /** Removes the filter of this name. */
  without(name: string): void;
  /** The HTTP connection manager. */
  readonly manager: Record<string, unknown>;
}

export interface RunningEnvoy extends AsyncDisposable {
  /** `http://host:port` of its listener. */
  readonly url: string;
  readonly port: number;
  readonly pid: number;
}

/** Starts Envoy on the example with the ports of this machine. @throws Error with the end of its log */
export async function startEnvoy(options: EnvoyOptions): Promise<RunningEnvoy> {
  const folder = privateFolder("latchkey-envoy-");
  const port = await freePort();
  const { credential } = options;
  const configuration = configurationFor(options, port);
  const running = await startEnvoyProcess({ folder, configuration, port, credential });
  const url = `http://127.0.0.1:${port}`;
  return { url, port, pid: running.pid, [Symbol.asyncDispose]: () => running.kill() };
}

/** Each port of the example stands for one program; the figures are the example's. */
function configurationFor({ latchkey, upstreams, change }: EnvoyOptions, port: number): string {
  const [, latchkeyPort] = latchkey.split(":");
  const ports = { 3000: port, 3001: upstreams.http, 3002: upstreams.grpc, 8080: Number(latchkeyPort) };
  const example = readFileSync(EXAMPLE, "utf8").replaceAll(/port_value: (\d+)/g, (_, figure) => {
    return `port_value: ${ports[figure as unknown as keyof typeof ports]}`;
  });
  if (change === undefined) return example;
  const configuration = parse(example);
  const manager = configuration.static_resources.listeners[0].filter_chains[0].filters[0].typed_config;
  const named = (name: string) => manager.http_filters.findIndex((filter: { name: string }) => filter.name === name);
  change({
    manager,
    filter: (name) => manager.http_filters[named(name)].typed_config,
    without: (name) => void manager.http_filters.splice(named(name), 1),
  });
  return stringify(configuration);
}

export interface Upstreams extends AsyncDisposable {
  readonly http: number;
  readonly grpc: number;
  /** Requests that reached either of them. */
  readonly served: () => number;
}

/**
 * A service that answers with the headers that reached it: over HTTP/1.1 as JSON, and over gRPC as a header `x-seen`
 * with an empty message.
 */
export async function startUpstreams(): Promise<Upstreams> {
  let served = 0;
  const http = createHttpServer((request, response) => {
    served++;
    const seen: Record<string, string> = {};
    for (let at = 0; at < request.rawHeaders.length; at += 2) {
      seen[request.rawHeaders[at]!.toLowerCase()] = request.rawHeaders[at + 1]!;
    }
    response.setHeader("x-ratelimit-limit", "of the upstream");
    response.end(JSON.stringify(seen));
  });
  const grpc = createHttp2Server((request, response) => {
    served++;
    request.resume();
    response.writeHead(200, {
      "content-type": "application/grpc",
      "x-seen": JSON.stringify(request.headers),
      trailer: "grpc-status",
    });
    response.write(Buffer.alloc(5));
    response.addTrailers({ "grpc-status": "0" });
    response.end();
  });
  const listen = (server: Server | Http2Server) =>
    new Promise<number>((resolve) => {
      server.listen(0, "127.0.0.1", () => resolve((server.address() as AddressInfo).port));
    });
  const [httpPort, grpcPort] = [await listen(http), await listen(grpc)];
  return {
    http: httpPort,
    grpc: grpcPort,
    served: () => served,
    async [Symbol.asyncDispose]() {
      http.closeAllConnections();
      http.close();
      grpc.close();
    },
  };
}

export interface EnvoyAnswer {
  readonly status: number;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  /** JSON, or the text. */
  readonly body: unknown;
}

/**
 * Sends a request whose header fields go out as they are, repeated ones too.
 *
 * @param fields names and values, in their spelling
 */
export async function ask(
  { port }: RunningEnvoy,
  path: string,
  fields: readonly (readonly [string, string])[] = [],
  method = "GET",
): Promise<EnvoyAnswer> {
  const headers = ["host", "shop.example", ...fields.flat()] as never;
  const request = httpRequest({ host: "127.0.0.1", port, path, method, agent: false, headers });
  const response = await new Promise<import("node:http").IncomingMessage>((resolve, reject) => {
    request.once("response", resolve).once("error", reject).end();
  });
  const body = await text(response);
  return {
    status: response.statusCode!,
    headers: response.headers as Record<string, string>,
    body: response.headers["content-type"]?.includes("json") || body.startsWith("{") ? JSON.parse(body) : body,
  };
}
