/** systemd's own judgement of the unit: its words, and how much it leaves to a taken process. */
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { mkdtempDisposable } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { readConfig, SETTINGS } from "../../src/config/config.ts";
import { hasTools } from "../interop/tools.ts";
import { startCommand } from "../support/start-command.ts";

const folder = join(import.meta.dirname, "../../deploy/systemd");
const unit = readFileSync(join(folder, "latchkey.service"), "utf8");
const isThere = hasTools([["systemd-analyze", "--version"], "install systemd"]);

describe.skipIf(!isThere)("systemd", () => {
  it("knows each word of the unit", async () => {
    await using made = await withUnit(unit);
    expect(analyze("verify", "--man=no", made.file)).toEqual({ status: 0, stderr: "" });
  });

  it("finds a misspelt word: the control", async () => {
    await using made = await withUnit(unit.replace("ProtectHome=", "ProtectHouse="));
    expect(analyze("verify", "--man=no", made.file).stderr).toContain("ProtectHouse");
  });

  it("counts an exposure of at most 1.5 of 10, and of more without the filter of system calls", async () => {
    const security = ["security", "--offline=yes", "--threshold=15"];
    await using made = await withUnit(unit);
    expect(analyze(...security, made.file).status).toBe(0);
    await using open = await withUnit(unit.replaceAll(/^SystemCallFilter=.*$/gm, ""));
    expect(analyze(...security, open.file).status).toBe(1);
  });
});

describe("the unit", () => {
  it("starts what npm start starts", () => {
    const { flags, file } = startCommand();
    expect(lineOf("ExecStart")).toBe(["/opt/latchkey/node_modules/.bin/node", ...flags, file].join(" "));
  });

  it("waits longer than the longest drain", () => {
    const longestS = SETTINGS.drainMs.parse("300") / 1000;
    expect(Number(lineOf("TimeoutStopSec"))).toBeGreaterThanOrEqual(longestS + 15);
  });

  it("lets V8 compile, gains no privilege, and writes to the data folder alone", () => {
    expect(lineOf("MemoryDenyWriteExecute")).toBe("no");
    expect(lineOf("NoNewPrivileges")).toBe("yes");
    expect(lineOf("ProtectSystem")).toBe("strict");
    expect(lineOf("Environment")).toContain(`LATCHKEY_DATA_DIR=/var/lib/${lineOf("StateDirectory")}`);
    expect(lineOf("StateDirectoryMode")).toBe("0700");
    expect(unit).not.toMatch(/^ReadWritePaths=/m);
  });

  it("does not start again and again with a configuration that is refused", () => {
    expect(lineOf("RestartPreventExitStatus")).toBe("78");
  });

  it("has an example of its environment that production accepts once its secrets are real", () => {
    const text = readFileSync(join(folder, "latchkey.env.example"), "utf8")
      .replaceAll("PASSWORD", "correct-horse-battery-staple")
      .replace("BASE64_OF_32_RANDOM_BYTES", Buffer.from(Array.from({ length: 32 }, (_, i) => i)).toString("base64"));
    const pairs = [...text.matchAll(/^(\w+)=(.*)$/gm)].map(([, name, value]) => [name, value]);
    const config = readConfig({ NODE_ENV: "production", ...Object.fromEntries(pairs) });
    expect(config).toMatchObject({ production: true, tls: { certFile: "/etc/latchkey/tls/tls.crt" } });
  });
});

/** systemd also looks for the programs, which are not installed here. */
async function withUnit(text: string) {
  const made = await mkdtempDisposable(join(tmpdir(), "latchkey-unit-"));
  const file = join(made.path, "latchkey.service");
  writeFileSync(file, text.replace(/^(ExecStart=)\S+/m, "$1/bin/true"));
  return { file, [Symbol.asyncDispose]: () => made.remove() };
}

function analyze(...words: string[]) {
  const { status, stderr } = spawnSync("systemd-analyze", words, { encoding: "utf8" });
  return { status, stderr };
}

function lineOf(name: string): string {
  return new RegExp(`^${name}=(.*)$`, "m").exec(unit)?.[1] ?? "";
}
