/** Signals of supervisors, terminals and npm, sent to real processes and to their whole groups. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { copyFileSync, writeFileSync } from "node:fs";
import { afterAll, describe, expect, it } from "vitest";
import { privateFolder, removeFolder } from "../support/child-process.ts";
import { OpenCall } from "../support/open-call.ts";
import { type CertificateFiles, makeCertificate, serialOf, servedSerial } from "../support/self-signed.ts";
import { canStart, freshPostgres, freshRedis } from "../support/shared-servers.ts";
import { type SpawnedService, serviceEnvironment, spawnService } from "../support/spawned-service.ts";
import { until } from "../support/until.ts";

const DRAIN_SECONDS = "30";
const root = new URL("../..", import.meta.url).pathname;
const folder = privateFolder("latchkey-signals-");
const RATE_LIMITS = `${root}examples/envoy/rate-limits.json`;
const certificates = [makeCertificate(folder, "one"), makeCertificate(folder, "two")] as const;
afterAll(() => removeFolder(folder));

/** `npm start` in a process group of its own, as systemd and terminals start it. */
class NpmStart implements AsyncDisposable {
  output = "";
  readonly #child: ChildProcess;
  readonly #ended: Promise<unknown>;

  constructor(env: NodeJS.ProcessEnv) {
    const options = { cwd: root, env: { ...process.env, ...env }, detached: true } as const;
    this.#child = spawn("npm", ["start"], { ...options, stdio: ["ignore", "pipe", "pipe"] });
    for (const stream of [this.#child.stdout!, this.#child.stderr!]) {
      stream.on("data", (chunk: Buffer) => {
        this.output += chunk;
      });
    }
    this.#ended = once(this.#child, "close");
  }

  async ready(): Promise<string> {
    await until(async () => this.output.includes("latchkey is ready"), "npm start is ready");
    const line = this.output.split("\n").find((each) => each.includes("latchkey is ready"))!;
    return (JSON.parse(line) as { address: string }).address;
  }

  signalGroup(signal: NodeJS.Signals): void {
    process.kill(-this.#child.pid!, signal);
  }

  async ended(): Promise<number | NodeJS.Signals | null> {
    await this.#ended;
    return this.#child.exitCode ?? this.#child.signalCode;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) this.signalGroup("SIGKILL");
    await this.#ended;
  }
}

/** Opens a call that anyone may make and that changes nothing. */
function logoutAt(address: string): OpenCall {
  return new OpenCall(address, "latchkey.v1.AuthService/Logout", new Uint8Array([0x0a, 1, 0x78]));
}

function stops(output: string): number {
  return output.split('"msg":"stopping').length - 1;
}

describe("npm start in a process group", () => {
  it.each<[signals: NodeJS.Signals[]]>([[["SIGTERM"]], [["SIGTERM", "SIGINT"]]])(
    "completes its calls and exits with 0 if the whole group gets %s",
    async (signals) => {
      await using npm = new NpmStart(serviceEnvironment({ LATCHKEY_DRAIN_SECONDS: DRAIN_SECONDS }));
      const call = logoutAt(await npm.ready());
      await call.begun();
      for (const signal of signals) npm.signalGroup(signal);
      await until(async () => stops(npm.output) === 1, "it is stopping");
      call.finish();
      expect(await call.outcome).toBe("0");
      expect(await npm.ended()).toBe(0);
    },
  );

  it("ends at a signal more than a second after the first, even with calls in flight", async () => {
    await using npm = new NpmStart(serviceEnvironment({ LATCHKEY_DRAIN_SECONDS: DRAIN_SECONDS }));
    const call = logoutAt(await npm.ready());
    await call.begun();
    npm.signalGroup("SIGTERM");
    await until(async () => stops(npm.output) === 1, "it is stopping");
    const again = setInterval(() => npm.signalGroup("SIGTERM"), 200);
    const outcome = await call.outcome;
    clearInterval(again);
    // The control of the tests above: the call was really in flight.
    expect(outcome).toBe("cut");
    expect(await npm.ended()).toBe(1);
  });
});

function withCertificate(files: CertificateFiles): NodeJS.ProcessEnv {
  const live = { certFile: `${privateFolder("latchkey-live-")}/tls.crt`, keyFile: `${folder}/live.key` };
  copy(files, live);
  return { LATCHKEY_TLS_CERT_FILE: live.certFile, LATCHKEY_TLS_KEY_FILE: live.keyFile };
}

function copy(from: CertificateFiles, to: CertificateFiles): void {
  copyFileSync(from.certFile, to.certFile);
  copyFileSync(from.keyFile, to.keyFile);
}

function replace(env: NodeJS.ProcessEnv, files: CertificateFiles): void {
  copy(files, { certFile: env.LATCHKEY_TLS_CERT_FILE!, keyFile: env.LATCHKEY_TLS_KEY_FILE! });
}

function portOf(address: string): number {
  return Number(address.split(":").at(-1));
}

async function told(service: SpawnedService, text: string, times: number): Promise<void> {
  await until(async () => service.output().split(text).length - 1 >= times, `${times} times: ${text}`);
}

describe("SIGHUP", () => {
  it("ends no process: neither one that starts, nor one that serves plaintext, nor one that drains", async () => {
    await using service = spawnService(serviceEnvironment({ LATCHKEY_DRAIN_SECONDS: DRAIN_SECONDS }));
    await until(async () => service.output().includes("development only"), "it is starting");
    service.signal("SIGHUP");
    const call = logoutAt(await service.ready());
    await call.begun();
    service.signal("SIGHUP");
    service.signal("SIGTERM");
    await until(async () => stops(service.output()) === 1, "it is stopping");
    service.signal("SIGHUP");
    call.finish();
    expect(await call.outcome).toBe("0");
    expect(await service.ended()).toBe(0);
  });

  it("makes a service read its certificate and its rate limits again immediately", async () => {
    const limits = `${folder}/limits.json`;
    copyFileSync(RATE_LIMITS, limits);
    const settings = {
      ...(withCertificate(certificates[0]) as Record<string, string>),
      LATCHKEY_RATE_LIMITS_FILE: limits,
    };
    const env = serviceEnvironment(settings);
    await using service = spawnService(env);
    const port = portOf(await service.ready());
    expect(await servedSerial(port)).toBe(serialOf(certificates[0]));
    replace(env, certificates[1]);
    service.signal("SIGHUP");
    await told(service, "the TLS certificate is replaced", 1);
    expect(await servedSerial(port)).toBe(serialOf(certificates[1]));
    await told(service, "the file of rate limits is read", 2);
    writeFileSync(limits, "{}");
    service.signal("SIGHUP");
    await told(service, "the TLS certificate is unchanged", 1);
    await told(service, "the file of rate limits can't be used; the limits before stay", 1);
  });

  it.skipIf(!canStart("postgres") || !canStart("redis")).each<[string, boolean]>([
    ["the first process alone", false],
    ["all processes", true],
  ])("to %s makes every worker read it again, and ends none", async (_, isToAll) => {
    const env = serviceEnvironment({
      ...(withCertificate(certificates[0]) as Record<string, string>),
      DATABASE_URL: await freshPostgres(),
      REDIS_URL: await freshRedis(),
      LATCHKEY_WORKERS: "2",
    });
    await using service = spawnService(env);
    const port = portOf(await service.ready());
    await told(service, "latchkey is ready", 2);
    const ready = service
      .output()
      .split("\n")
      .filter((line) => line.includes("latchkey is ready"));
    const workers = ready.map((line) => (JSON.parse(line) as { pid: number }).pid);
    replace(env, certificates[1]);
    for (const pid of isToAll ? [service.pid, ...workers] : [service.pid]) process.kill(pid, "SIGHUP");
    await told(service, "the TLS certificate is replaced", 2);
    const shown = await Promise.all(Array.from({ length: 8 }, () => servedSerial(port)));
    expect(new Set(shown)).toEqual(new Set([serialOf(certificates[1])]));
    expect(service.output()).not.toContain("a worker ended");
  });
});
