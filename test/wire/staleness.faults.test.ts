import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { AdminService } from "../../src/gen/latchkey/v1/admin_service_pb.ts";
import { AuthService } from "../../src/gen/latchkey/v1/auth_service_pb.ts";
import { Freshness_Source, KeyService, Verdict } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { canStart, freshPostgres } from "../support/servers.ts";
import { clientOf, PASSWORD } from "../support/service.ts";

/** What is promised of every process while the database answers. The usual is a few milliseconds. */
const BOUND_MS = 5000;

interface Process {
  readonly address: string;
  readonly child: ChildProcess;
}

describe.skipIf(!canStart("postgres"))("two processes on one PostgreSQL", () => {
  const processes: Process[] = [];
  let folder: string;
  let admin: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "latchkey-two-"));
    const env = {
      ...process.env,
      DATABASE_URL: await freshPostgres(),
      LATCHKEY_DATA_DIR: folder,
      LATCHKEY_LISTEN: "127.0.0.1:0",
      LATCHKEY_OPS_LISTEN: "127.0.0.1:0",
      LATCHKEY_LOG_FORMAT: "json",
    };
    admin = await bootstrap(env);
    // Both at once: of two first starts one applies the schema, and both end with the same master keys.
    processes.push(...(await Promise.all([start(env), start(env)])));
  });
  afterAll(async () => {
    for (const { child } of processes) {
      child.kill("SIGTERM");
      if (child.exitCode === null) await once(child, "exit");
    }
    await rm(folder, { recursive: true, force: true });
  });

  it("refuse a key at once where it was revoked, and soon in the other, which had it in memory", async () => {
    const [here, there] = processes.map(({ address }) => address) as [string, string];
    const { secret } = await clientOf(here, AdminService, admin).issueServiceCredential({
      name: "v",
      scopes: ["verify"],
    });
    const { tokens } = await clientOf(here, AuthService).register({ email: "a@example.com", password: PASSWORD });
    const keys = clientOf(here, KeyService, tokens!.accessToken);
    const { apiKey, key } = await keys.issueKey({ name: "k" });
    const [verifyHere, verifyThere] = [clientOf(here, KeyService, secret), clientOf(there, KeyService, secret)];
    const look = { apiKey, cost: 0 };
    expect((await verifyHere.verifyKey(look)).verdict).toBe(Verdict.VALID);
    expect((await verifyThere.verifyKey(look)).verdict).toBe(Verdict.VALID);
    // The control: the other process has the key in memory, so that being refused is news that reached it.
    const kept = await verifyThere.verifyKey(look);
    expect(kept.freshness?.source).toBe(Freshness_Source.CACHE);

    await keys.revokeKey({ keyId: key!.id });
    const revokedAt = performance.now();
    expect((await verifyHere.verifyKey(look)).verdict).toBe(Verdict.REVOKED);
    let refusedAfterMs = Number.NaN;
    while (Number.isNaN(refusedAfterMs)) {
      const askedAt = performance.now();
      const { verdict } = await verifyThere.verifyKey(look);
      if (verdict === Verdict.REVOKED) refusedAfterMs = askedAt - revokedAt;
      else if (askedAt - revokedAt > BOUND_MS) throw new Error("still accepted after the bound");
      else await pause(20);
    }
    expect(refusedAfterMs).toBeLessThan(BOUND_MS);
  });
});

async function start(env: NodeJS.ProcessEnv): Promise<Process> {
  const child = spawn(process.execPath, ["src/main.ts"], { env, stdio: ["ignore", "pipe", "inherit"] });
  let output = "";
  for await (const chunk of child.stdout) {
    output += chunk;
    const ready = output.split("\n").find((line) => line.includes("latchkey is ready"));
    if (ready !== undefined) {
      child.stdout.resume();
      return { child, address: (JSON.parse(ready) as { address: string }).address };
    }
  }
  throw new Error(`the service ended before it was ready:\n${output}`);
}

async function bootstrap(env: NodeJS.ProcessEnv): Promise<string> {
  const child = spawn(process.execPath, ["src/cli/bootstrap.ts"], { env, stdio: ["ignore", "pipe", "inherit"] });
  let output = "";
  for await (const chunk of child.stdout) output += chunk;
  expect(output).toMatch(/^kit_svc_[0-9A-Za-z]{65}\n$/);
  return output.trim();
}
