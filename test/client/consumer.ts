/**
 * A program that uses the installed package: standard decorators on class methods, for each framework. pack.interop.ts
 * compiles it in an empty folder, because Node's type stripping does not lower decorators.
 */
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { HandlerContext } from "@connectrpc/connect";
import type { ServerUnaryCall, sendUnaryData } from "@grpc/grpc-js";
import { createLatchkey, LatchkeyUnavailable, type Verdict } from "@latchkey/client";
import { requireApiKey as connectKey } from "@latchkey/client/connect";
import { requireApiKey as expressKey, rateLimit } from "@latchkey/client/express";
import { requireApiKey as fastifyKey } from "@latchkey/client/fastify";
import { requireApiKey as grpcKey, latchkeyOf } from "@latchkey/client/grpc";
import { requireApiKey as honoKey } from "@latchkey/client/hono";
import { requireApiKey as nodeKey } from "@latchkey/client/node";
import { fakeLatchkey } from "@latchkey/client/testing";
import express, { type Response as ExpressResponse, type Request } from "express";
import fastify, { type FastifyReply, type FastifyRequest } from "fastify";
import { type Context, Hono } from "hono";

const latchkey = fakeLatchkey();
const { apiKey, id } = latchkey.fake.issueKey({ scopes: ["orders:read"] });
const scopes = ["orders:read"];

class Orders {
  readonly name = "orders";

  @nodeKey.method(latchkey, { scopes })
  plain(request: IncomingMessage, response: ServerResponse): void {
    response.end(`${this.name} ${request.latchkey?.key?.id}`);
  }

  @rateLimit.method(latchkey, { subject: () => "all", name: "all", perMinute: 1000 })
  @expressKey.method(latchkey, { scopes })
  express(request: Request, response: ExpressResponse): void {
    response.end(`${this.name} ${request.latchkey?.key?.id}`);
  }

  @fastifyKey.method(latchkey, { scopes })
  async fastify(request: FastifyRequest, _reply: FastifyReply): Promise<string> {
    return `${this.name} ${request.latchkey?.key?.id}`;
  }

  @honoKey.method(latchkey, { scopes })
  hono(c: Context): Response {
    return c.text(`${this.name} ${c.get("latchkey").key?.id}`);
  }

  @grpcKey.method(latchkey, { scopes })
  grpc(call: ServerUnaryCall<object, object>, callback: sendUnaryData<object>): void {
    callback(null, { text: `${this.name} ${latchkeyOf(call)?.key?.id}` });
  }

  @connectKey.method(latchkey, { scopes })
  async connect(_request: object, _context: HandlerContext): Promise<object> {
    return { text: this.name };
  }

  @connectKey.method(latchkey, { scopes })
  async *connectStream(_request: object, _context: HandlerContext): AsyncGenerator<object> {
    yield { text: this.name };
  }
}

const orders = new Orders();

async function overHttp(server: { listen(port: number, host: string): unknown; address(): unknown; close(): unknown }) {
  server.listen(0, "127.0.0.1");
  await once(server as never, "listening");
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/orders`;
  const good = await fetch(url, { headers: { "x-api-key": apiKey, connection: "close" } });
  assert.equal(await good.text(), `orders ${id}`);
  assert.match(good.headers.get("ratelimit") ?? "", /"minute";r=\d+/);
  const bad = await fetch(url, { headers: { connection: "close" } });
  assert.equal(bad.status, 401);
  assert.equal(((await bad.json()) as { code: string }).code, "CREDENTIAL_MISSING");
  server.close();
}

await overHttp(createServer((request, response) => void orders.plain(request, response)));

const app = express();
app.get("/orders", (request, response) => orders.express(request, response));
await overHttp(createServer(app));

const fast = fastify();
fast.get("/orders", (request, reply) => orders.fastify(request, reply));
await fast.ready();
const injected = await fast.inject({ url: "/orders", headers: { "x-api-key": apiKey } });
assert.equal(injected.body, `orders ${id}`);
assert.equal((await fast.inject({ url: "/orders" })).statusCode, 401);
await fast.close();

const hono = new Hono();
hono.get("/orders", (c) => orders.hono(c));
const answer = await hono.request("/orders", { headers: { "x-api-key": apiKey } });
assert.equal(await answer.text(), `orders ${id}`);
assert.match(answer.headers.get("ratelimit") ?? "", /"minute"/);
assert.equal((await hono.request("/orders")).status, 401);

// grpc-js, with JSON in place of protobuf.
const { Server, ServerCredentials, Client, credentials, Metadata } = await import("@grpc/grpc-js");
const json = {
  path: "/shop.Orders/List",
  requestStream: false as const,
  responseStream: false as const,
  requestSerialize: (value: object) => Buffer.from(JSON.stringify(value)),
  requestDeserialize: (bytes: Buffer) => JSON.parse(bytes.toString()) as object,
  responseSerialize: (value: object) => Buffer.from(JSON.stringify(value)),
  responseDeserialize: (bytes: Buffer) => JSON.parse(bytes.toString()) as object,
};
const server = new Server();
server.addService({ list: json }, { list: orders.grpc.bind(orders) as never });
const port = await new Promise<number>((resolve, reject) => {
  server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) =>
    error ? reject(error) : resolve(bound),
  );
});
const client = new Client(`127.0.0.1:${port}`, credentials.createInsecure());
const list = (key: string | undefined) =>
  new Promise<{ error: { code: number } | null; value: object | undefined }>((resolve) => {
    const metadata = new Metadata();
    if (key !== undefined) metadata.set("x-api-key", key);
    client.makeUnaryRequest(json.path, json.requestSerialize, json.responseDeserialize, {}, metadata, (error, value) =>
      resolve({ error, value }),
    );
  });
assert.deepEqual((await list(apiKey)).value, { text: `orders ${id}` });
assert.equal((await list(undefined)).error?.code, 16);
client.close();
server.forceShutdown();

const { createContextValues } = await import("@connectrpc/connect");
const contextOf = (key: string) => {
  const method = { name: "List", parent: { typeName: "shop.Orders" } };
  const requestHeader = new Headers({ "x-api-key": key });
  return {
    method,
    requestHeader,
    responseHeader: new Headers(),
    values: createContextValues(),
  } as unknown as HandlerContext;
};
const context = contextOf(apiKey);
assert.deepEqual(await orders.connect({}, context), { text: "orders" });
assert.match(context.responseHeader.get("ratelimit") ?? "", /"minute"/);
await assert.rejects(orders.connect({}, contextOf("invented")), { code: 16 });
const streamed: object[] = [];
for await (const one of orders.connectStream({}, contextOf(apiKey))) streamed.push(one);
assert.deepEqual(streamed, [{ text: "orders" }]);
await assert.rejects(orders.connectStream({}, contextOf("invented")).next(), { code: 16 });

// Under experimentalDecorators, a decorator is called with a target, a name and a descriptor.
const legacy = nodeKey.method(latchkey) as unknown as (target: object, name: string, descriptor: object) => unknown;
assert.throws(() => legacy({}, "plain", {}), /experimentalDecorators/);

const away = createLatchkey({ baseUrl: "http://127.0.0.1:1", credential: "kit_svc_a", deadlineMs: 200 });
const verdict: Promise<Verdict> = away.verify({ apiKey });
await assert.rejects(verdict, LatchkeyUnavailable);
await away.close();
await latchkey.close();
process.stdout.write("every decorator works\n");
