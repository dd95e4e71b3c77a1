/** An example, started as examples/README.md says, and what each of them promises. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { Code, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { expect } from "vitest";
import { Orders } from "../../examples/gen/shop/v1/orders_pb.ts";
import { AdminService } from "../../src/gen/latchkey/v1/admin_service_pb.ts";
import { AuthService } from "../../src/gen/latchkey/v1/auth_service_pb.ts";
import { KeyService } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { freePort } from "./child-process.ts";
import { clientOf, PASSWORD } from "./clients.ts";

export const EXAMPLES = join(import.meta.dirname, "../../examples");

/** A service, and what the callers of an example need. */
export interface ExampleCast {
  /** `host:port` */
  readonly address: string;
  /** The credential of the example, with the scope `verify`. */
  readonly verifier: string;
  /** A key that may do everything. */
  readonly pro: { readonly apiKey: string; readonly id: string };
  /** A key of a tier that may not. */
  readonly basic: { readonly apiKey: string };
  /** An access token of a person. */
  readonly token: string;
}

export async function exampleCast(address: string, admin: string): Promise<ExampleCast> {
  const operator = clientOf(address, AdminService, admin);
  const { secret } = await operator.issueServiceCredential({ name: "example", scopes: ["verify"] });
  const registration = { email: "shopper@example.com", password: PASSWORD };
  const { user, tokens } = await clientOf(address, AuthService).register(registration);
  await operator.updateUser({ user: { id: user!.id, tier: "pro", scopes: ["orders:*"] } });
  const issue = async (tier: string) => {
    const wish = { name: tier, tier, ownerId: user!.id, scopes: ["orders:read"] };
    const { apiKey, key } = await clientOf(address, KeyService, admin).issueKey(wish);
    return { apiKey, id: key!.id };
  };
  return {
    address,
    verifier: secret,
    pro: await issue("pro"),
    basic: await issue("basic"),
    token: tokens!.accessToken,
  };
}

/**
 * Runs an example until the block ends.
 *
 * @throws Error with its output if it ends before it listens
 */
export async function runExample(
  [program, ...args]: readonly string[],
  { address, verifier }: ExampleCast,
  more: Readonly<Record<string, string>> = {},
): Promise<AsyncDisposable & { readonly url: string }> {
  const port = await freePort();
  const own = { LATCHKEY_ADDRESS: `http://${address}`, LATCHKEY_CREDENTIAL: verifier, PORT: `${port}` };
  const child = spawn(program!, args, { env: { ...process.env, ...own, ...more }, stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  await new Promise<void>((resolve, reject) => {
    const read = (chunk: Buffer) => {
      output += chunk;
      if (output.includes("listening on")) resolve();
    };
    child.stdout.on("data", read);
    child.stderr.on("data", read);
    child.once("error", reject);
    child.once("exit", () => reject(new Error(`${program} ended: ${output}`)));
  });
  return {
    url: `http://127.0.0.1:${port}`,
    async [Symbol.asyncDispose]() {
      const ended = once(child, "exit");
      child.kill();
      await ended;
    },
  };
}

/** Judges an example that serves HTTP. */
export async function expectRoutes(url: string, { pro, basic }: ExampleCast): Promise<void> {
  expect(await get(`${url}/orders`, { "x-api-key": pro.apiKey })).toEqual([200, { orders: [], key: pro.id }]);
  expect(await get(`${url}/orders`, { "x-api-key": basic.apiKey })).toMatchObject([403, { code: "TIER_NOT_ALLOWED" }]);
  expect(await get(`${url}/orders`)).toMatchObject([401, { code: "CREDENTIAL_MISSING" }]);
  const statuses = [];
  for (let at = 0; at < 6; at++) statuses.push((await get(`${url}/news`))[0]);
  // The examples share the window of one address.
  expect(statuses.at(-1)).toBe(429);
}

/** Judges an example that serves gRPC. */
export async function expectMethods(url: string, { pro, basic }: ExampleCast): Promise<void> {
  const client = createClient(Orders, createGrpcTransport({ baseUrl: url }));
  const list = (apiKey: string) => client.listOrders({}, { headers: { "x-api-key": apiKey } });
  expect(await list(pro.apiKey)).toMatchObject({ orders: [], keyId: pro.id });
  await expect(list(basic.apiKey)).rejects.toMatchObject({ code: Code.PermissionDenied });
  await expect(client.listOrders({})).rejects.toMatchObject({ code: Code.Unauthenticated });
}

/** The status and the body of a GET. */
export async function get(url: string, headers: Readonly<Record<string, string>> = {}) {
  const response = await fetch(url, { headers });
  return [response.status, (await response.json()) as Record<string, unknown>] as const;
}
