/**
 * The data folder of a service that starts. The service removes the rights of others, and writes to no place that a
 * planted link names.
 */
import { chmodSync, lstatSync, mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { mkdtempDisposable } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { readConfig } from "../../src/config/config.ts";
import { openDataFolder } from "../../src/start/data-folder.ts";
import { recordingLog } from "../support/recording-log.ts";
import { serviceEnvironment, spawnService, startService } from "../support/spawned-service.ts";

const modeOf = (path: string) => statSync(path).mode & 0o777;

describe("a first start in a folder that others can write", { timeout: 120_000 }, () => {
  it("removes the rights of others, logs it, and replaces a planted link instead of writing through it", async () => {
    await using elsewhere = await mkdtempDisposable(join(tmpdir(), "latchkey-elsewhere-"));
    const env = serviceEnvironment({});
    const folder = env.LATCHKEY_DATA_DIR!;
    writeFileSync(join(elsewhere.path, "victim"), "there before");
    symlinkSync(join(elsewhere.path, "victim"), join(folder, "admin-credential"));
    chmodSync(folder, 0o777);
    await using service = await startService(env);
    expect(readFileSync(join(elsewhere.path, "victim"), "utf8")).toBe("there before");
    expect(lstatSync(join(folder, "admin-credential")).isFile()).toBe(true);
    expect(readFileSync(join(folder, "admin-credential"), "utf8")).toMatch(/^kit_svc_\w{65}\n$/);
    expect(["", "admin-credential", "pgdata", "lock"].map((name) => modeOf(join(folder, name)))).toEqual([
      0o700, 0o600, 0o700, 0o600,
    ]);
    const lines = service
      .output()
      .split("\n")
      .filter((line) => line.includes("was open to others"));
    expect(lines.map((line) => JSON.parse(line))).toEqual([
      expect.objectContaining({ level: 40, path: folder, mode: "0777" }),
    ]);
  });

  it("is refused in one line if the folder holds other things", async () => {
    const env = serviceEnvironment({});
    writeFileSync(join(env.LATCHKEY_DATA_DIR!, "thesis.txt"), "");
    chmodSync(env.LATCHKEY_DATA_DIR!, 0o755);
    await using service = spawnService(env);
    expect(await service.ended()).toBe(1);
    expect(service.output()).toContain("holds other things, such as thesis.txt; run chmod 700");
  });
});

describe("the folder is checked", () => {
  const production = {
    NODE_ENV: "production",
    DATABASE_URL: "postgres://latchkey:pw@127.0.0.1/latchkey",
    REDIS_URL: "redis://127.0.0.1",
    LATCHKEY_ISSUER: "https://auth.example.com",
    LATCHKEY_MASTER_KEYS: `1:${Buffer.from(Array.from({ length: 32 }, (_, i) => i * 7)).toString("base64")}`,
  };

  it.each<[when: string, env: Readonly<Record<string, string>>, isMade: boolean]>([
    ["never by a production service that stores nothing in it", production, false],
    ["not by a development service that stores nothing in it yet", { ...production, NODE_ENV: "development" }, false],
    ["by a service with the embedded database", {}, true],
    [
      "by a production service with the embedded database",
      { ...production, DATABASE_URL: "", LATCHKEY_ALLOW_EMBEDDED_DATABASE: "true" },
      true,
    ],
    ["by a service that makes its master key", { DATABASE_URL: production.DATABASE_URL }, true],
  ])("%s", async (_when, env, isMade) => {
    await using parent = await mkdtempDisposable(join(tmpdir(), "latchkey-data-"));
    const folder = join(parent.path, "data");
    const log = recordingLog();
    const open = () => openDataFolder(readConfig({ ...env, LATCHKEY_DATA_DIR: folder }), log);
    open();
    expect(lstatSync(folder, { throwIfNoEntry: false })?.isDirectory() ?? false).toBe(isMade);
    mkdirSync(folder, { recursive: true });
    chmodSync(folder, 0o755);
    open();
    const isMended = isMade || env.NODE_ENV === "development";
    expect(modeOf(folder)).toBe(isMended ? 0o700 : 0o755);
    expect(log.lines).toHaveLength(isMended ? 1 : 0);
  });
});
