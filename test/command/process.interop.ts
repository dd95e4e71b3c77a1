/** The command as a process: as npm links it in a checkout, and packed and installed in an empty folder. */
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type RunningService, startRunningService } from "../interop/running-service.ts";
import { oldestNode } from "../support/oldest-node.ts";

const root = join(import.meta.dirname, "../..");
const linked = join(root, "node_modules/.bin/latchkey");
const folder = mkdtempSync(join(tmpdir(), "latchkey-command-"));

let service: RunningService;
let env: NodeJS.ProcessEnv;
beforeAll(async () => {
  service = await startRunningService();
  const { PATH } = process.env;
  env = { PATH, LATCHKEY_ADDRESS: service.address, LATCHKEY_CREDENTIAL: service.admin };
});
afterAll(async () => {
  await service[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true, force: true });
});

interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Starts a program; `ended` has its exit code and what it wrote. */
function start(command: string, args: readonly string[], options: { env?: NodeJS.ProcessEnv; input?: string } = {}) {
  const child = spawn(command, args, { cwd: folder, env: options.env ?? env });
  const output = { stdout: "", stderr: "" };
  for (const stream of ["stdout", "stderr"] as const) child[stream].on("data", (chunk) => (output[stream] += chunk));
  const ended: Promise<Ended> = once(child, "close").then(([code]) => ({ code, ...output }));
  if (options.input !== undefined) child.stdin.end(options.input);
  return { child, ended };
}

function run(command: string, args: readonly string[], options?: Parameters<typeof start>[2]): Promise<Ended> {
  return start(command, args, { input: "", ...options }).ended;
}

describe("the command that npm links in a checkout", () => {
  it("works without HOME, with a key from a pipe, and ends with the code of the verdict", async () => {
    const [key] = await service.issue(1);
    const verify = (input: string) => run(linked, ["keys", "verify", "--quiet"], { input });
    expect(await verify(key!.raw)).toEqual({ code: 0, stdout: `${key!.id}\n`, stderr: "" });
    expect(await verify("no key")).toEqual({ code: 1, stdout: "", stderr: "" });
  });

  it("ends with 0 and without a word if its reader closes the pipe early, also in its help", async () => {
    await service.issue(30);
    for (const line of ["keys list --jsonl", "--help"]) {
      const shell = `"$0" ${line} | true; echo "\${PIPESTATUS[0]}"`;
      expect(await run("bash", ["--norc", "-c", shell, linked]), line).toEqual({ code: 0, stdout: "0\n", stderr: "" });
    }
  });

  it("ends with 130 at SIGINT, while it waits for the service", async () => {
    const connected = Promise.withResolvers<void>();
    await using silent = createServer((socket) => {
      socket.on("error", () => {}).resume();
      connected.resolve();
    });
    await once(silent.listen(0, "127.0.0.1"), "listening");
    const { port } = silent.address() as { port: number };
    const waiting = start(linked, ["keys", "list"], { env: { ...env, LATCHKEY_ADDRESS: `127.0.0.1:${port}` } });
    await connected.promise;
    waiting.child.kill("SIGINT");
    expect(await waiting.ended).toEqual({ code: 130, stdout: "", stderr: "latchkey: interrupted\n" });
  });

  it("runs the service's own scripts with the environment, and ends with their code", async () => {
    const nothing = join(folder, "no-data");
    const { code, stdout, stderr } = await run(linked, ["master-keys"], {
      env: { ...env, LATCHKEY_DATA_DIR: nothing },
    });
    expect({ code, stdout, stderr }).toEqual({
      code: 1,
      stdout: "",
      stderr: expect.stringMatching(/no-data\/master-keys/),
    });
  });

  it("migrates the database of the service's environment, and shows its schema before and after", async () => {
    const data = join(folder, "migrated-data");
    const migrate = (...args: string[]) =>
      run(linked, ["migrate", ...args], { env: { ...env, LATCHKEY_DATA_DIR: data } });
    expect(await migrate("status")).toMatchObject({ code: 1, stdout: "" });
    expect(await migrate()).toMatchObject({ code: 0, stdout: expect.stringMatching(/^applied 0001-.*up to date\n$/s) });
    expect(await migrate("status")).toMatchObject({ code: 0, stdout: expect.stringContaining("up to date") });
    const { applied, pending } = JSON.parse((await migrate("status", "--json")).stdout);
    expect([applied.length > 0, pending]).toEqual([true, []]);
    expect(await migrate("--dry-run")).toMatchObject({ code: 0, stderr: "" });
    expect(await migrate("status", "--dry-run")).toMatchObject({ code: 2, stdout: "" });
  });

  it("says in one line what to run if it is not built", async () => {
    const bin = join(folder, "unbuilt/bin");
    mkdirSync(bin, { recursive: true });
    copyFileSync(join(root, "cli/bin/latchkey.js"), join(bin, "latchkey.js"));
    writeFileSync(join(folder, "unbuilt/package.json"), '{"type": "module"}');
    const ended = await run("node", [join(bin, "latchkey.js")]);
    expect(ended).toEqual({ code: 1, stdout: "", stderr: expect.stringMatching(/^latchkey: .*npm run prepare.*\n$/) });
  });
});

describe("the packed command", () => {
  const installed = join(folder, "node_modules/.bin/latchkey");
  const oldest = oldestNode(folder);
  let files: readonly string[];
  beforeAll(() => {
    const npm = (...args: readonly string[]) => execFileSync("npm", args, { cwd: folder, encoding: "utf8" });
    const packed = ["client", "cli"].map((name) => JSON.parse(npm("pack", join(root, name), "--json", "--silent"))[0]);
    files = packed[1].files.map(({ path }: { path: string }) => path);
    writeFileSync(join(folder, "package.json"), JSON.stringify({ name: "operator", private: true }));
    const quiet = ["--prefer-offline", "--no-audit", "--no-fund", "--silent"];
    npm(
      "install",
      ...quiet,
      ...(oldest === undefined ? [] : [oldest.package]),
      ...packed.map(({ filename }) => `./${filename}`),
    );
  });

  it("has its licence, its README and the file that npm links, and no TypeScript", () => {
    expect(files).toEqual(expect.arrayContaining(["LICENSE", "README.md", "bin/latchkey.js", "dist/main.js"]));
    expect(files.filter((path) => /\.(ts|map)$/.test(path))).toEqual([]);
  });

  it.skipIf(oldest === undefined)("calls the service on the oldest Node that it supports", async () => {
    const script = join(folder, "node_modules/latchkey/bin/latchkey.js");
    expect(await run(oldest!.path, [script, "status", "--quiet"])).toMatchObject({ code: 0, stderr: "" });
  });

  it("calls the service from an empty folder, and says where the service's own scripts run", async () => {
    expect(await run(installed, ["status", "--json"])).toMatchObject({ code: 0, stderr: "" });
    const { code, stderr } = await run(installed, ["bootstrap"]);
    expect([code, stderr]).toEqual([
      1,
      expect.stringMatching(/^latchkey: .*in a checkout.*npm run --silent bootstrap\n$/),
    ]);
  });
});
