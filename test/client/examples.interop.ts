/** Each example in TypeScript, with the running service. test/interop/ has those in other languages. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  EXAMPLES,
  type ExampleCast,
  exampleCast,
  expectMethods,
  expectRoutes,
  get,
  runExample,
} from "../support/examples.ts";
import { startTestService, type TestService } from "../support/in-process-service.ts";

const HTTP = ["express.ts", "fastify.ts", "hono.ts"];
const RPC = ["connect.ts", "grpc-js.ts"];
const ELSEWHERE = ["browser/page.ts", "go/main.go", "python/service.py"];

let service: TestService;
let cast: ExampleCast;
const running = (file: string) => runExample(["node", join(EXAMPLES, file)], cast);

beforeAll(async () => {
  service = await startTestService();
  cast = await exampleCast(service.address, service.admin);
});
afterAll(() => service[Symbol.asyncDispose]());

describe("examples", () => {
  it("are all tested, and each has a line in the README", () => {
    const sources = readdirSync(EXAMPLES, { recursive: true, encoding: "utf8" });
    const files = sources.filter((name) => /\.(ts|go|py)$/.test(name) && !/(^|\/)gen\//.test(name));
    expect(files.sort()).toEqual([...HTTP, ...RPC, ...ELSEWHERE].sort());
    const readme = readFileSync(join(EXAMPLES, "README.md"), "utf8");
    expect(files.filter((file) => !readme.includes(`](${file})`))).toEqual([]);
  });

  it.each(HTTP)("%s protects its routes", async (file) => {
    await using example = await running(file);
    const headers = { authorization: `Bearer ${cast.token}` };
    expect(await get(`${example.url}/me`, headers)).toMatchObject([200, { user: expect.any(String) }]);
    await expectRoutes(example.url, cast);
  });

  it.each(RPC)("%s protects its methods", async (file) => {
    await using example = await running(file);
    await expectMethods(example.url, cast);
  });
});
