/**
 * `npm run smoke`: the first steps of a new user, with common tools. It runs `npm start` on an empty folder, then
 * grpcurl, curl and a client in another language, generated from the .proto files. Each step prints one line. The exit
 * code is 1 if any step failed.
 *
 * Needs grpcurl, curl, ghz and Envoy (`envoy`) in PATH, and a Python with grpcio and grpcio-tools in SMOKE_PYTHON.
 */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { callByGrpcWeb, startEnvoy } from "./smoke-envoy.ts";
import { type RunningService, startService } from "./smoke-service.ts";

const run = promisify(execFile);

/** Values that one step leaves for the next. Those that must not appear in the service's log go through `secret`. */
interface Story {
  service: RunningService;
  readonly dataDir: string;
  readonly secrets: string[];
  admin: string;
  userId: string;
  accessToken: string;
  keyId: string;
  apiKey: string;
}

interface Asked {
  readonly service: { readonly address: string };
}

const EMAIL = "ada@example.com";
const PASSWORD = "a long sentence that nobody else would write";
/** Calls in a minute of the tier `basic`, which a new user has. */
const PER_MINUTE = 20;
/** The number of calls that ghz makes, and the limit of its key. */
const LOAD = { calls: 1000, perMinute: 5000 };

const STEPS: readonly (readonly [name: string, step: (story: Story) => Promise<void>])[] = [
  ["the first start wrote an operator's credential that only its owner can read", findAdmin],
  ["grpcurl lists the services by reflection", listServices],
  ["grpcurl describes a service", describeService],
  ["health says SERVING", checkHealth],
  ["the operators' port says that the process is well", checkOps],
  ["register and log in", registerAndLogin],
  ["issue a key", issueKey],
  ["a good key is VALID over gRPC", verifyByGrpc],
  ["a good key is VALID over HTTP and JSON", verifyByJson],
  ["through Envoy a good key is VALID, over gRPC and gRPC-Web", verifyThroughEnvoy],
  [`${LOAD.calls} calls by ghz are all answered, and all VALID`, loadByGhz],
  ["a mistyped key is INVALID, and no error", verifyMistyped],
  ["without a credential nobody verifies", verifyAnonymously],
  ["the call after the last allowed one is RATE_LIMITED and says when to come back", reachLimit],
  ["JWKS has a signing key", fetchKeys],
  ["a client in Python, generated from the .proto files", runPython],
  ["a restart keeps users, keys and operators", restart],
  ["a revoked key is REVOKED", revokeKey],
  ["no secret is in the log", searchLog],
  ["SIGTERM ends the service within 15 s", stop],
];

process.exitCode = await main();

async function main(): Promise<number> {
  const dataDir = mkdtempSync(join(tmpdir(), "latchkey-smoke-"));
  try {
    const start = performance.now();
    const service = await startService(dataDir);
    say("ok", `npm start is ready at ${service.address}`, start);
    return await tell({
      service,
      dataDir,
      secrets: [PASSWORD],
      admin: "",
      userId: "",
      accessToken: "",
      keyId: "",
      apiKey: "",
    });
  } catch (error) {
    process.stdout.write(`FAIL ${messageOf(error)}\n`);
    return 1;
  } finally {
    rmSync(dataDir, { recursive: true, force: true });
  }
}

/** Runs all steps, even after one that failed. @returns the exit code */
async function tell(story: Story): Promise<number> {
  let failures = 0;
  for (const [name, step] of STEPS) {
    const start = performance.now();
    try {
      await step(story);
      say("ok", name, start);
    } catch (error) {
      failures++;
      say("FAIL", `${name}\n${messageOf(error)}`, start);
    }
  }
  await story.service.stop();
  if (failures > 0) process.stdout.write(`\nThe service said:\n${story.service.output()}\n`);
  return failures === 0 ? 0 : 1;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

async function findAdmin(story: Story): Promise<void> {
  const file = join(story.dataDir, "admin-credential");
  assert.equal(statSync(file).mode & 0o777, 0o600);
  story.admin = secret(story, readFileSync(file, "utf8").trim());
  assert.match(story.admin, /^kit_svc_[0-9A-Za-z]{65}$/);
}

async function listServices({ service }: Story): Promise<void> {
  const { stdout } = await run("grpcurl", ["-plaintext", service.address, "list"]);
  for (const name of ["AuthService", "KeyService", "AdminService"])
    assert.ok(stdout.includes(`latchkey.v1.${name}`), name);
  assert.ok(stdout.includes("grpc.health.v1.Health"));
}

async function describeService({ service }: Story): Promise<void> {
  const { stdout } = await run("grpcurl", ["-plaintext", service.address, "describe", "latchkey.v1.KeyService"]);
  assert.match(stdout, /rpc VerifyKey \( \.latchkey\.v1\.VerifyKeyRequest \)/);
}

async function checkHealth(story: Story): Promise<void> {
  assert.equal((await grpcurl(story, "grpc.health.v1.Health/Check", {})).status, "SERVING");
}

async function checkOps({ service }: Story): Promise<void> {
  await run("curl", ["--fail", "--silent", "--show-error", `http://${service.opsAddress}/healthz`]);
}

async function registerAndLogin(story: Story): Promise<void> {
  const registered = await grpcurl(story, "latchkey.v1.AuthService/Register", { email: EMAIL, password: PASSWORD });
  assert.match(registered.user.id, /^usr_/);
  const { tokens } = await grpcurl(story, "latchkey.v1.AuthService/Login", { email: EMAIL, password: PASSWORD });
  story.userId = registered.user.id;
  story.accessToken = secret(story, tokens.accessToken);
  secret(story, tokens.refreshToken);
}

async function issueKey(story: Story): Promise<void> {
  const issued = await grpcurl(story, "latchkey.v1.KeyService/IssueKey", { name: "smoke" }, story.accessToken);
  story.keyId = issued.key.id;
  story.apiKey = secret(story, issued.apiKey);
  assert.match(story.apiKey, /^kit_live_[0-9A-Za-z]{65}$/);
}

async function verifyByGrpc(story: Story): Promise<void> {
  const answer = await verify(story);
  assert.deepEqual([answer.valid, answer.verdict, answer.key.id], [true, "VERDICT_VALID", story.keyId]);
}

async function verifyByJson(story: Story): Promise<void> {
  const answer = await postJson(story, { apiKey: story.apiKey });
  assert.deepEqual([answer.valid, answer.verdict], [true, "VERDICT_VALID"]);
}

async function verifyThroughEnvoy(story: Story): Promise<void> {
  await using envoy = await startEnvoy(story.service.address);
  const body = { apiKey: story.apiKey, cost: 0 };
  const method = "latchkey.v1.KeyService/VerifyKey";
  assert.equal((await grpcurl({ service: envoy }, method, body, story.admin)).verdict, "VERDICT_VALID");

  const answer = await callByGrpcWeb(`http://${envoy.address}/${method}`, body, story.admin);
  assert.deepEqual([answer.server, answer.status], ["envoy", "0"]);
  assert.equal(JSON.parse(answer.message).verdict, "VERDICT_VALID");
}

async function loadByGhz(story: Story): Promise<void> {
  const limits = { perMinute: LOAD.perMinute, perDay: LOAD.perMinute };
  const issue = { name: "load", ownerId: story.userId, limits };
  const { apiKey } = await grpcurl(story, "latchkey.v1.KeyService/IssueKey", issue, story.admin);
  secret(story, apiKey);
  const metadata = JSON.stringify({ authorization: `Bearer ${story.admin}` });
  const call = ["--insecure", "--call", "latchkey.v1.KeyService/VerifyKey", "--metadata", metadata];
  const load = ["--concurrency", "20", "--total", `${LOAD.calls}`, "--format", "json"];
  const { stdout } = await run("ghz", [...call, ...load, "--data", JSON.stringify({ apiKey }), story.service.address]);
  assert.deepEqual(JSON.parse(stdout).statusCodeDistribution, { OK: LOAD.calls });
  // A refused call is not counted, so the number of VALID answers is the number of counted calls.
  const look = { apiKey, cost: 0 };
  const { rateLimits } = await grpcurl(story, "latchkey.v1.KeyService/VerifyKey", look, story.admin);
  assert.equal(rateLimits[0].remaining, LOAD.perMinute - LOAD.calls);
}

async function verifyMistyped(story: Story): Promise<void> {
  const answer = await postJson(story, { apiKey: `${story.apiKey.slice(0, -1)}!` });
  assert.deepEqual([answer.valid ?? false, answer.verdict], [false, "VERDICT_INVALID"]);
}

async function verifyAnonymously(story: Story): Promise<void> {
  const attempt = grpcurl(story, "latchkey.v1.KeyService/VerifyKey", { apiKey: story.apiKey });
  await assert.rejects(attempt, /Unauthenticated/);
}

/** Two calls were VALID before. All steps take less than a minute, so no call leaves the window. */
async function reachLimit(story: Story): Promise<void> {
  for (let calls = 2; calls < PER_MINUTE; calls++) {
    assert.equal((await postJson(story, { apiKey: story.apiKey })).verdict, "VERDICT_VALID", `call ${calls + 1}`);
  }
  const answer = await postJson(story, { apiKey: story.apiKey });
  assert.equal(answer.verdict, "VERDICT_RATE_LIMITED");
  const seconds = Number(/^([\d.]+)s$/.exec(answer.retryAfter)?.[1]);
  assert.ok(seconds > 0 && seconds <= 61, `retry_after ${answer.retryAfter}`);
}

async function fetchKeys({ service }: Story): Promise<void> {
  const { stdout } = await run("curl", ["--fail", "--silent", `http://${service.address}/.well-known/jwks.json`]);
  const [key] = JSON.parse(stdout).keys;
  assert.ok(key.kid && key.kty);
  assert.equal(key.d, undefined, "the private half");
}

async function runPython({ service, dataDir }: Story): Promise<void> {
  const python = process.env.SMOKE_PYTHON ?? "python3";
  const script = join(import.meta.dirname, "python-client-smoke.py");
  await run(python, [script, service.address, join(dataDir, "admin-credential")]);
}

async function restart(story: Story): Promise<void> {
  const issued = await grpcurl(story, "latchkey.v1.KeyService/IssueKey", { name: "kept" }, story.accessToken);
  await story.service.stop();
  const before = story.service.output();
  story.service = await startService(story.dataDir, before);
  const answer = await postJson(story, { apiKey: secret(story, issued.apiKey) });
  assert.equal(answer.verdict, "VERDICT_VALID");
  await grpcurl(story, "latchkey.v1.AuthService/Login", { email: EMAIL, password: PASSWORD });
}

async function revokeKey(story: Story): Promise<void> {
  await grpcurl(story, "latchkey.v1.KeyService/RevokeKey", { keyId: story.keyId }, story.accessToken);
  assert.equal((await postJson(story, { apiKey: story.apiKey })).verdict, "VERDICT_REVOKED");
}

async function searchLog({ service, secrets }: Story): Promise<void> {
  const found = secrets
    .map((value, index) => [index, service.output().includes(value)] as const)
    .filter(([, is]) => is);
  assert.deepEqual(found, [], "numbers of the secrets that were found");
}

async function stop({ service }: Story): Promise<void> {
  const begin = performance.now();
  await service.stop();
  assert.ok(performance.now() - begin < 15_000);
  assert.match(service.output(), /\bstopped\b/, "it drained and said so");
}

function verify(story: Story) {
  return grpcurl(story, "latchkey.v1.KeyService/VerifyKey", { apiKey: story.apiKey }, story.admin);
}

// biome-ignore lint/suspicious/noExplicitAny: answers are JSON whose fields the steps assert
async function grpcurl({ service }: Asked, method: string, body: object, credential?: string): Promise<any> {
  const authorization = credential === undefined ? [] : ["-H", `authorization: Bearer ${credential}`];
  const flags = ["-plaintext", "-max-time", "10", ...authorization, "-d", JSON.stringify(body)];
  return JSON.parse((await run("grpcurl", [...flags, service.address, method])).stdout);
}

// biome-ignore lint/suspicious/noExplicitAny: answers are JSON whose fields the steps assert
async function postJson({ service, admin }: Story, body: object): Promise<any> {
  const headers = ["-H", "content-type: application/json", "-H", `authorization: Bearer ${admin}`];
  const flags = [
    "--fail-with-body",
    "--silent",
    "--show-error",
    "--max-time",
    "10",
    ...headers,
    "-d",
    JSON.stringify(body),
  ];
  return JSON.parse(
    (await run("curl", [...flags, `http://${service.address}/latchkey.v1.KeyService/VerifyKey`])).stdout,
  );
}

function secret(story: Story, value: string): string {
  assert.ok(value.length >= 20, "a secret");
  story.secrets.push(value);
  return value;
}

function say(mark: string, text: string, start: number): void {
  process.stdout.write(`${mark.padEnd(4)} ${((performance.now() - start) / 1000).toFixed(1).padStart(5)} s  ${text}\n`);
}
