/**
 * The conformance suite of https://github.com/connectrpc/conformance over each lane of unary gRPC, with two clients of
 * others: connect-go and grpc-go. What is known to fail must fail, and nothing else.
 */
import { spawn, spawnSync } from "node:child_process";
import { join } from "node:path";
import { expect, test } from "vitest";

const COMMAND = "connectconformance";
const FOLDER = join(import.meta.dirname, "../conformance");
const isInstalled = spawnSync(COMMAND, ["--version"]).error === undefined;
if (!isInstalled) {
  const message = `${COMMAND} is not installed: go install connectrpc.com/conformance/cmd/connectconformance@v1.0.7`;
  if (process.env.CI) throw new Error(message);
  process.stderr.write(`SKIPPED: ${message}\n`);
}

interface Run {
  readonly code: number | null;
  readonly output: string;
}

function runSuite(lane: string, knownFailing: readonly string[]): Promise<Run> {
  const known = knownFailing.flatMap((pattern) => ["--known-failing", pattern]);
  const server = [process.execPath, join(FOLDER, "server.ts"), lane];
  const config = join(FOLDER, "config.yaml");
  const suite = spawn(COMMAND, ["--mode", "server", "--conf", config, ...known, "--", ...server]);
  let output = "";
  for (const stream of [suite.stdout, suite.stderr]) {
    stream.on("data", (chunk: Buffer) => {
      output += chunk.toString();
    });
  }
  return new Promise((resolve) => suite.on("close", (code) => resolve({ code, output })));
}

test.skipIf(!isInstalled).each(["unary", "connect"])("the %s lane conforms, but for what is known", async (lane) => {
  const { code, output } = await runSuite(lane, [`@${join(FOLDER, "known-failing.txt")}`]);
  expect(output).toMatch(/Total cases: \d{3}/);
  expect([code, output]).toEqual([0, output]);
});

test.skipIf(!isInstalled)("a failure that is not known would be seen", async () => {
  const { code, output } = await runSuite("unary", []);
  expect(output).toContain("FAILED");
  expect(code).not.toBe(0);
});
