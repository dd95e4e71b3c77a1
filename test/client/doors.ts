/** Each framework with the client's middleware in front of one route, behind one interface. */
import { once } from "node:events";
import {
  createServer,
  request as httpRequest,
  type IncomingMessage,
  type RequestListener,
  type Server,
} from "node:http";
import { createServer as createHttp2Server } from "node:http2";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { ConnectError, createClient, type Transport } from "@connectrpc/connect";
import { connectNodeAdapter, createGrpcTransport } from "@connectrpc/connect-node";
import { Server as GrpcServer, Metadata, ServerCredentials } from "@grpc/grpc-js";
import { serve } from "@hono/node-server";
import { getConnInfo } from "@hono/node-server/conninfo";
import express from "express";
import fastify from "fastify";
import { Hono } from "hono";
import * as connectDoor from "../../client/src/connect.ts";
import * as expressDoor from "../../client/src/express.ts";
import * as fastifyDoor from "../../client/src/fastify.ts";
import * as grpcDoor from "../../client/src/grpc.ts";
import type { ApiKeyOptions, RateLimitOptions } from "../../client/src/guards.ts";
import * as honoDoor from "../../client/src/hono.ts";
import type { Latchkey } from "../../client/src/latchkey.ts";
import * as nodeDoor from "../../client/src/node.ts";
import type { Found } from "../../client/src/protect.ts";
import { ErrorInfoSchema } from "../../src/gen/google/rpc/error_details_pb.ts";
import { Health, HealthCheckRequestSchema, HealthCheckResponseSchema } from "../../src/gen/grpc/health/v1/health_pb.ts";

/** A guard in front of the route; the outermost comes first. */
export type Step =
  | readonly ["requireApiKey", Omit<ApiKeyOptions<unknown>, "method">]
  | readonly ["rateLimit", RateLimitOptions<unknown>]
  | readonly ["requireUser"];

export interface Answer {
  /** HTTP's status, or gRPC's code with 0 for OK. */
  readonly code: number;
  readonly headers: Readonly<Record<string, string>>;
  /** The refusal: `code` of a problem, or `reason` of an ErrorInfo. */
  readonly refusal: string | undefined;
  /** The facts that the handler got; undefined if it did not run. */
  readonly found: { readonly keyId?: string; readonly userId?: string; readonly windows: number } | undefined;
  /** The body of a refusal, or the error. */
  readonly raw: unknown;
}

export interface RunningDoor extends AsyncDisposable {
  /** Header names and values, repeated ones too. */
  ask(headers: readonly (readonly [string, string])[], path?: string): Promise<Answer>;
}

export interface DoorUnderTest {
  readonly name: string;
  readonly kind: "http" | "rpc";
  start(latchkey: Latchkey, steps: readonly Step[]): Promise<RunningDoor>;
}

/** The middleware of one module, as the steps ask for it. */
function middlewareOf<M>(
  door: {
    requireApiKey(latchkey: Latchkey, options?: never): M;
    rateLimit(latchkey: Latchkey, options: never): M;
    requireUser(latchkey: Latchkey): M;
  },
  latchkey: Latchkey,
  steps: readonly Step[],
): M[] {
  return steps.map(([name, options]) => {
    if (name === "requireApiKey") return door.requireApiKey(latchkey, options as never);
    return name === "rateLimit" ? door.rateLimit(latchkey, options as never) : door.requireUser(latchkey);
  });
}

function shown(found: Found | undefined): string {
  return JSON.stringify({ keyId: found?.key?.id, userId: found?.user?.userId, windows: found?.rateLimits.length });
}

const nodeHttp: DoorUnderTest = {
  name: "node:http",
  kind: "http",
  async start(latchkey, steps) {
    const handler = (request: IncomingMessage, response: { end(body: string): unknown }) =>
      response.end(shown(request.latchkey));
    const guarded = middlewareOf(nodeDoor, latchkey, steps).reduceRight<nodeDoor.Handler>(
      (inner, wrap) => wrap(inner),
      handler,
    );
    return httpDoor(createServer(guarded as RequestListener));
  },
};

const expressHttp: DoorUnderTest = {
  name: "Express",
  kind: "http",
  async start(latchkey, steps) {
    const app = express();
    app.get("/orders", ...middlewareOf(expressDoor, latchkey, steps), (request, response) => {
      response.end(shown(request.latchkey));
    });
    return httpDoor(createServer(app));
  },
};

const fastifyHttp: DoorUnderTest = {
  name: "Fastify",
  kind: "http",
  async start(latchkey, steps) {
    const app = fastify();
    app.get("/orders", { onRequest: middlewareOf(fastifyDoor, latchkey, steps) }, (request) => shown(request.latchkey));
    await app.listen({ host: "127.0.0.1", port: 0 });
    return askHttp((app.server.address() as AddressInfo).port, () => app.close());
  },
};

const honoHttp: DoorUnderTest = {
  name: "Hono",
  kind: "http",
  async start(latchkey, steps) {
    const app = new Hono();
    const address = (c: Parameters<typeof getConnInfo>[0]) => getConnInfo(c).remote.address;
    const withAddress = steps.map(
      (step): Step => (step[0] === "requireApiKey" ? [step[0], { ...step[1], address } as never] : step),
    );
    for (const one of middlewareOf(honoDoor, latchkey, withAddress)) app.use("/orders", one);
    app.get("/orders", (c) => new Response(shown(c.get("latchkey"))));
    const server = serve({ fetch: app.fetch, hostname: "127.0.0.1", port: 0 }) as Server;
    if (!server.listening) await once(server, "listening");
    return askHttp((server.address() as AddressInfo).port, () => closeServer(server));
  },
};

const connectRpc: DoorUnderTest = {
  name: "Connect",
  kind: "rpc",
  async start(latchkey, steps) {
    const interceptors = middlewareOf(connectDoor, latchkey, steps);
    const server = createHttp2Server(
      connectNodeAdapter({
        interceptors,
        contextValues: connectDoor.latchkeyContext,
        routes: ({ service }) =>
          service(Health, {
            check: (_request, { responseHeader, values }) => {
              responseHeader.set("x-found", shown(values.get(connectDoor.latchkeyKey)));
              return {};
            },
          }),
      }),
    );
    const sessions = new Set<{ destroy(): void }>();
    server.on("session", (session) => sessions.add(session));
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    return askGrpc(port, async () => {
      for (const session of sessions) session.destroy();
      await new Promise((resolve) => server.close(resolve));
    });
  },
};

const grpcRpc: DoorUnderTest = {
  name: "grpc-js",
  kind: "rpc",
  async start(latchkey, steps) {
    const server = new GrpcServer({ interceptors: middlewareOf(grpcDoor, latchkey, steps) });
    const check = {
      path: "/grpc.health.v1.Health/Check",
      requestStream: false,
      responseStream: false,
      requestSerialize: () => Buffer.alloc(0),
      requestDeserialize: (bytes: Buffer) => fromBinary(HealthCheckRequestSchema, bytes),
      responseSerialize: () => Buffer.from(toBinary(HealthCheckResponseSchema, create(HealthCheckResponseSchema))),
      responseDeserialize: () => ({}),
    };
    server.addService(
      { check } as never,
      {
        check: (
          call: { metadata: Metadata; sendMetadata(metadata: Metadata): void },
          callback: (error: null, value: object) => void,
        ) => {
          const metadata = new Metadata();
          metadata.set("x-found", shown(grpcDoor.latchkeyOf(call)));
          call.sendMetadata(metadata);
          callback(null, {});
        },
      } as never,
    );
    const port = await new Promise<number>((resolve, reject) => {
      server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) =>
        error === null ? resolve(bound) : reject(error),
      );
    });
    return askGrpc(port, async () => server.forceShutdown());
  },
};

export const DOORS: readonly DoorUnderTest[] = [nodeHttp, expressHttp, fastifyHttp, honoHttp, connectRpc, grpcRpc];

async function httpDoor(server: Server): Promise<RunningDoor> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return askHttp((server.address() as AddressInfo).port, () => closeServer(server));
}

function closeServer(server: Server): Promise<void> {
  server.closeAllConnections();
  return new Promise((resolve) => void server.close(() => resolve()));
}

function askHttp(port: number, close: () => Promise<unknown>): RunningDoor {
  return {
    async ask(headers, path = "/orders") {
      // A list of names and values is written as it is: node:http adds no Host to it.
      const list = ["host", "localhost", ...headers.flat()];
      const request = httpRequest({ host: "127.0.0.1", port, path, agent: false, headers: list as never });
      request.end();
      const [response] = (await once(request, "response")) as [IncomingMessage];
      const body = await text(response);
      const json = JSON.parse(body) as Record<string, unknown>;
      const served = response.statusCode === 200;
      return {
        code: response.statusCode!,
        headers: response.headers as Record<string, string>,
        refusal: served ? undefined : (json.code as string),
        found: served ? (json as unknown as Answer["found"]) : undefined,
        raw: json,
      };
    },
    async [Symbol.asyncDispose]() {
      await close();
    },
  };
}

function askGrpc(port: number, close: () => Promise<unknown>): RunningDoor {
  const transport: Transport = createGrpcTransport({ baseUrl: `http://127.0.0.1:${port}` });
  const client = createClient(Health, transport);
  return {
    async ask(headers) {
      const sent = new Headers();
      for (const [name, value] of headers) sent.append(name, value);
      let got = new Headers();
      const onHeader = (header: Headers) => {
        got = header;
      };
      try {
        await client.check({}, { headers: sent, timeoutMs: 20_000, onHeader });
        const found = JSON.parse(got.get("x-found")!) as Answer["found"];
        return { code: 0, headers: Object.fromEntries(got), refusal: undefined, found, raw: undefined };
      } catch (error) {
        const failure = ConnectError.from(error);
        return {
          code: failure.code,
          headers: Object.fromEntries(failure.metadata),
          refusal: reasonOf(failure),
          found: undefined,
          raw: failure,
        };
      }
    },
    async [Symbol.asyncDispose]() {
      await close();
    },
  };
}

function reasonOf(error: ConnectError): string | undefined {
  return error.findDetails(ErrorInfoSchema)[0]?.reason;
}
