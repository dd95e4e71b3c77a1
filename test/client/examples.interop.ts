/** Each example, started as its README says, with the running service. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";

import { type AddressInfo, createServer } from "node:net";
import { join } from "node:path";
import { Code, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Orders } from "../../examples/gen/shop/v1/orders_pb.ts";
import { AdminService } from "../../src/gen/latchkey/v1/admin_service_pb.ts";
import { KeyService } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { startTestService, type TestService } from "../support/in-process-service.ts";

const root = join(import.meta.dirname, "../..");
const HTTP = ["express.ts", "fastify.ts", "hono.ts"];
const RPC = ["connect.ts", "grpc-js.ts"];

let service: TestService;
let credential: string;
let pro: { apiKey: string; id: string };
let basic: { apiKey: string };
let token: string;

beforeAll(async () => {
  service = await startTestService();
  credential = await service.newCredential("verify");
  const person = await service.newPerson();
  token = person.tokens.accessToken;
  await service
    .client(AdminService, service.admin)
    .updateUser({ user: { id: person.user.id, tier: "pro", scopes: ["orders:*"] } });
  const keys = service.client(KeyService, service.admin);
  const issue = async (tier: string) => {
    const scopes = ["orders:read"];
    const { apiKey, key } = await keys.issueKey({ name: tier, tier, ownerId: person.user.id, scopes });
    return { apiKey, id: key!.id };
  };
  pro = await issue("pro");
  basic = await issue("basic");
});
afterAll(() => service[Symbol.asyncDispose]());

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  return port;
}

/** Runs an example until the block ends. */
async function running(file: string): Promise<AsyncDisposable & { readonly url: string }> {
  const port = await freePort();
  const env = {
    ...process.env,
    LATCHKEY_ADDRESS: `http://${service.address}`,
    LATCHKEY_CREDENTIAL: credential,
    PORT: `${port}`,
  };
  const child = spawn("node", [join(root, "examples", file)], { env, stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  const ready = new Promise<void>((resolve, reject) => {
    const read = (chunk: Buffer) => {
      output += chunk;
      if (output.includes("listening on")) resolve();
    };
    child.stdout.on("data", read);
    child.stderr.on("data", read);
    child.once("exit", () => reject(new Error(`${file} ended: ${output}`)));
  });
  await ready;
  return {
    url: `http://127.0.0.1:${port}`,
    async [Symbol.asyncDispose]() {
      const ended = once(child, "exit");
      child.kill();
      await ended;
    },
  };
}

describe("examples", () => {
  it("are all tested, and each has a line in the README", () => {
    const files = readdirSync(join(root, "examples")).filter((name) => name.endsWith(".ts"));
    expect(files.sort()).toEqual([...HTTP, ...RPC].sort());
    const readme = readFileSync(join(root, "examples/README.md"), "utf8");
    expect(files.filter((file) => !readme.includes(`](${file})`))).toEqual([]);
  });

  it.each(HTTP)("%s protects its routes", async (file) => {
    await using example = await running(file);
    const get = async (path: string, headers: Record<string, string>) => {
      const response = await fetch(example.url + path, { headers });
      return [response.status, (await response.json()) as Record<string, unknown>] as const;
    };
    expect(await get("/orders", { "x-api-key": pro.apiKey })).toEqual([200, { orders: [], key: pro.id }]);
    expect(await get("/orders", { "x-api-key": basic.apiKey })).toMatchObject([403, { code: "TIER_NOT_ALLOWED" }]);
    expect(await get("/orders", {})).toMatchObject([401, { code: "CREDENTIAL_MISSING" }]);
    expect(await get("/me", { authorization: `Bearer ${token}` })).toMatchObject([200, { user: expect.any(String) }]);
    const statuses = [];
    for (let at = 0; at < 6; at++) statuses.push((await get("/news", {}))[0]);
    // The three examples share the window of one address.
    expect(statuses.at(-1)).toBe(429);
  });

  it.each(RPC)("%s protects its methods", async (file) => {
    await using example = await running(file);
    const client = createClient(Orders, createGrpcTransport({ baseUrl: example.url }));
    const list = (apiKey: string) => client.listOrders({}, { headers: { "x-api-key": apiKey } });
    expect(await list(pro.apiKey)).toMatchObject({ orders: [], keyId: pro.id });
    await expect(list(basic.apiKey)).rejects.toMatchObject({ code: Code.PermissionDenied });
    await expect(client.listOrders({})).rejects.toMatchObject({ code: Code.Unauthenticated });
  });
});
