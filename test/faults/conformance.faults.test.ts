/**
 * The conformance suite of https://github.com/connectrpc/conformance over each lane of unary gRPC, with two foreign
 * clients: connect-go and grpc-go. The known failures must fail for their one known reason, and nothing else may fail.
 */
import { spawn, spawnSync } from "node:child_process";
import { join } from "node:path";
import { expect, it } from "vitest";

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

/** The one known reason: latchkey's errors have an ErrorInfo, but the suite expects no details. */
const KNOWN_REASON = "actual error contain 1 details; expecting 0";
const KNOWN = ["failing", "flaky"].flatMap((kind) => [`--known-${kind}`, `@${join(FOLDER, `known-${kind}.txt`)}`]);

function runSuite(lane: string, known: readonly string[]): Promise<Run> {
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

/** The suite's report of each case that is not known to fail, or that failed for an unknown reason. */
function failuresOf(output: string): string[] {
  const [said = ""] = output.split(/^Total cases: /m);
  const cases = said.split(/^(?=FAILED: |INFO: )/m).filter((text) => /^(FAILED|INFO): /.test(text));
  return cases.map((text) => text.trim()).filter((text) => !isKnown(text));
}

function isKnown(text: string): boolean {
  const [title, ...reasons] = text.split("\n");
  return title!.startsWith("INFO: ") && reasons.length === 1 && reasons[0]!.trim() === KNOWN_REASON;
}

it.skipIf(!isInstalled).each(["unary", "connect"])(
  "the %s lane conforms, except for the known failures",
  async (lane) => {
    const { code, output } = await runSuite(lane, KNOWN);
    expect(output).toMatch(/Total cases: \d{3}/);
    expect({ code, failed: failuresOf(output) }).toEqual({ code: 0, failed: [] });
  },
);

it.skipIf(!isInstalled)("the suite reports an unknown failure: the control", async () => {
  const { code, output } = await runSuite("unary", []);
  expect(code).not.toBe(0);
  expect(failuresOf(output)).toContainEqual(expect.stringMatching(/^FAILED: Basic\/.*unimplemented/));
});
