/** grpcio with the running service: a client, the example and the quickstart. */
import { execFile } from "node:child_process";
import { globSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { privateFolder } from "../support/child-process.ts";
import { EXAMPLES, exampleCast, expectRoutes, runExample } from "../support/examples.ts";
import { walkQuickstart } from "../support/quickstart.ts";
import { driveClient } from "./driven-client.ts";
import { languageContract } from "./languages.ts";
import { mutualTls, mutualTlsContract } from "./mutual-tls.ts";
import { type RunningService, startRunningService } from "./running-service.ts";
import { hasTools } from "./tools.ts";

const python = process.env.SMOKE_PYTHON ?? "python3";
const GRPCIO = [[python, "-c", "import grpc_status, grpc_tools"], "pip install grpcio-status grpcio-tools"] as const;
const root = join(import.meta.dirname, "../..");
const run = promisify(execFile);

describe.skipIf(!hasTools(GRPCIO))("grpcio", () => {
  const gen = join(privateFolder("latchkey-python-"), "gen");
  const tls = mutualTls();
  let service: RunningService;

  beforeAll(async () => {
    mkdirSync(gen);
    const starting = startRunningService(tls.settings);
    starting.catch(() => {});
    const files = globSync("proto/latchkey/v1/*.proto", { cwd: root });
    const flags = ["-Iproto", "-Ithird_party", `--python_out=${gen}`, `--grpc_python_out=${gen}`];
    await run(python, ["-m", "grpc_tools.protoc", ...flags, ...files], { cwd: root });
    service = await starting;
  });
  afterAll(() => service[Symbol.asyncDispose]());

  const env = { ...process.env, PYTHONPATH: gen };

  describe("a client", () =>
    languageContract(
      () => service,
      () => driveClient([python, join(import.meta.dirname, "client.py")], env),
    ));

  describe("a client with a certificate", () =>
    mutualTlsContract(
      () => service,
      () => driveClient([python, join(import.meta.dirname, "client.py")], env),
      tls,
    ));

  it("has an example that protects its routes", async () => {
    const cast = await exampleCast(service.address, service.admin);
    await using example = await runExample([python, join(EXAMPLES, "python/service.py")], cast, { PYTHONPATH: gen });
    await expectRoutes(example.url, cast);
  });

  it("has a quickstart that leads from an empty folder to a protected route", async () => {
    expect(await walkQuickstart("python.md", service)).toEqual([]);
  });
});
