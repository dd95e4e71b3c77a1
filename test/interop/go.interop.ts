/** grpc-go with the running service: a client, the example and the quickstart. */
import { execFile } from "node:child_process";
import { cpSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { privateFolder } from "../support/child-process.ts";
import { EXAMPLES, exampleCast, expectMethods, runExample } from "../support/examples.ts";
import { walkQuickstart } from "../support/quickstart.ts";
import { driveClient } from "./driven-client.ts";
import { languageContract } from "./languages.ts";
import { mutualTls, mutualTlsContract } from "./mutual-tls.ts";
import { type RunningService, startRunningService } from "./running-service.ts";
import { hasTools } from "./tools.ts";

const TOOLS = [
  [["go", "version"], "install Go 1.26 or newer"],
  [["protoc-gen-go", "--version"], "go install google.golang.org/protobuf/cmd/protoc-gen-go@v1.36.12"],
  [["protoc-gen-go-grpc", "--version"], "go install google.golang.org/grpc/cmd/protoc-gen-go-grpc@v1.6.2"],
] as const;
const root = join(import.meta.dirname, "../..");
const run = promisify(execFile);

describe.skipIf(!hasTools(...TOOLS))("grpc-go", () => {
  const folder = privateFolder("latchkey-go-");
  const tls = mutualTls();
  let service: RunningService;

  beforeAll(async () => {
    // One module holds the example and the test's client, so that one build makes both.
    cpSync(join(EXAMPLES, "go"), folder, { recursive: true });
    mkdirSync(join(folder, "client"));
    cpSync(join(import.meta.dirname, "client.go"), join(folder, "client/client.go"));
    const starting = startRunningService(tls.settings);
    starting.catch(() => {});
    await run("npx", ["buf", "generate", "--template", "examples/go/buf.gen.yaml", "-o", folder], { cwd: root });
    await run("go", ["build", "-buildvcs=false", "-o", "bin/", ".", "./client"], { cwd: folder });
    service = await starting;
  });
  afterAll(() => service[Symbol.asyncDispose]());

  describe("a client", () =>
    languageContract(
      () => service,
      () => driveClient([join(folder, "bin/client")]),
    ));

  describe("a client with a certificate", () =>
    mutualTlsContract(
      () => service,
      () => driveClient([join(folder, "bin/client")]),
      tls,
    ));

  it("has an example that protects its methods", async () => {
    const cast = await exampleCast(service.address, service.admin);
    await using example = await runExample([join(folder, "bin/shop")], cast);
    await expectMethods(example.url, cast);
  });

  it("has a quickstart that leads from an empty folder to a protected route", async () => {
    expect(await walkQuickstart("go.md", service)).toEqual([]);
  });
});
