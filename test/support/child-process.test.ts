import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { isDead, removeFolder, startProcess } from "./child-process.ts";
import { until } from "./until.ts";

it("a server ends, and its folder is removed, with the run that started it, even if the run is killed", async () => {
  const folder = mkdtempSync(join(tmpdir(), "latchkey-process-"));
  const module = new URL("./child-process.ts", import.meta.url).href;
  const script = `
    const { startProcess } = await import(${JSON.stringify(module)});
    const spec = { command: "sleep", args: ["600"], folder: ${JSON.stringify(folder)}, logFile: "${folder}/log" };
    const server = await startProcess(spec, async () => true);
    process.stdout.write(String(server.pid));
    setInterval(() => {}, 1000);`;
  const run = spawn(process.execPath, ["--input-type=module", "-e", script], { stdio: ["ignore", "pipe", "inherit"] });
  const [output] = (await once(run.stdout, "data")) as [Buffer];
  const pid = Number(output);
  expect(isDead(pid), "it ran").toBe(false);
  run.kill("SIGKILL");
  await until(async () => isDead(pid) && !existsSync(folder), "the server is gone");
});

it("an error about a server that ends at once quotes the server's output", async () => {
  const folder = mkdtempSync(join(tmpdir(), "latchkey-process-"));
  const spec = { command: "sh", args: ["-c", "echo no such luck >&2; exit 3"], folder, logFile: join(folder, "log") };
  await expect(startProcess(spec, async () => false)).rejects.toThrow("no such luck");
  removeFolder(folder);
});

it("a command that does not exist fails with a clear error", async () => {
  const folder = mkdtempSync(join(tmpdir(), "latchkey-process-"));
  const spec = { command: "latchkey-no-such-command", args: [], folder, logFile: join(folder, "log") };
  await expect(startProcess(spec, async () => true)).rejects.toThrow("cannot be run");
  removeFolder(folder);
});
