/**
 * Every line of the documentation for grpcurl, curl and the command, run word for word with real grpcurl. The service
 * runs in an environment as in Kubernetes, with service links and the clients' variables.
 */
import { spawnSync } from "node:child_process";
import { readFileSync, symlinkSync } from "node:fs";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { privateFolder } from "../support/child-process.ts";
import { blocksOf, openShell, runBlocks, type Shell } from "../support/documented-lines.ts";
import { type ReadyService, serviceEnvironment, startService } from "../support/spawned-service.ts";

const isInstalled = spawnSync("grpcurl", ["-version"]).error === undefined;
if (!isInstalled) {
  const message = "grpcurl is not installed: go install github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.4";
  if (process.env.CI) throw new Error(message);
  process.stderr.write(`SKIPPED: ${message}\n`);
}

const LINKS = {
  LATCHKEY_PORT: "tcp://10.0.0.1:8080",
  LATCHKEY_SERVICE_HOST: "10.0.0.1",
  LATCHKEY_SERVICE_PORT: "8080",
};
const root = join(import.meta.dirname, "../..");

describe.skipIf(!isInstalled)("the lines of the documentation", () => {
  let service: ReadyService;
  let shell: Shell;
  beforeAll(async () => {
    const folder = join(privateFolder("latchkey-lines-"), "data");
    const clients = { LATCHKEY_ADDRESS: "localhost:8080", LATCHKEY_CREDENTIAL_FILE: "data/admin-credential" };
    service = await startService(serviceEnvironment({ LATCHKEY_DATA_DIR: folder, ...LINKS, ...clients }));
    // As in a checkout: `npx --no-install` finds the command there.
    symlinkSync(join(root, "node_modules"), join(dirname(folder), "node_modules"));
    shell = openShell(dirname(folder));
  });
  afterAll(async () => {
    await shell[Symbol.asyncDispose]();
    await service.stop();
  });

  // In this order: what README.md makes, docs/OPERATIONS.md finds.
  it.each<[page: string, section: string | undefined]>([
    ["README.md", "A minute with grpcurl"],
    ["README.md", "The same minute with the command"],
    ["docs/ADMIN.md", undefined],
    ["docs/OPERATIONS.md", "Signing keys"],
    ["docs/OPERATIONS.md", "When someone can't log in"],
    ["docs/OPERATIONS.md", "Handing over an account"],
    ["docs/OPERATIONS.md", "The audit trail"],
    ["docs/REST.md", undefined],
  ])("of %s (%s) do and answer what the page says", async (page, section) => {
    const blocks = blocksOf(readFileSync(join(root, page), "utf8"), section);
    expect(blocks.length).toBeGreaterThan(0);
    const outcomes = await runBlocks(blocks, shell, service.address);
    expect(outcomes.length).toBeGreaterThan(1);
    expect(outcomes.filter(({ fault }) => fault !== undefined)).toEqual([]);
  });

  it("are answered by a service that started beside service links, and said which they are", () => {
    const lines = service.output().split("\n");
    const told = lines.filter((line) => line.includes("service links in the environment are ignored"));
    expect(told.map((line) => JSON.parse(line).names)).toEqual([Object.keys(LINKS).join(" ")]);
  });
});
