/** The command as its operators run it. */
import { existsSync } from "node:fs";
import { mkdtempDisposable } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { runCli } from "../support/run-cli.ts";

const newFolder = () => mkdtempDisposable(join(tmpdir(), "latchkey-data-"));
const CREDENTIAL = /^kit_svc_[0-9A-Za-z]{65}\n$/;

describe("npm run bootstrap", { timeout: 60_000 }, () => {
  it("prints only a credential on standard output, names its database on standard error, and makes a second one only by force", async () => {
    await using folder = await newFolder();
    const run = (...flags: string[]) => runCli("bootstrap", { LATCHKEY_DATA_DIR: folder.path }, ...flags);
    expect(await run()).toEqual({
      code: 0,
      stdout: expect.stringMatching(CREDENTIAL),
      stderr: `latchkey: made an admin credential for the embedded database in ${folder.path}\n`,
    });
    const again = await run();
    expect(again).toMatchObject({ code: 1, stdout: "" });
    expect(again.stderr).toContain(`the embedded database in ${folder.path} already has a usable admin credential`);
    expect(await run("--force")).toMatchObject({ code: 0, stdout: expect.stringMatching(CREDENTIAL) });
  });

  it("makes no master key for PostgreSQL, because the service has its own", async () => {
    await using folder = await newFolder();
    const settings = { LATCHKEY_DATA_DIR: folder.path, DATABASE_URL: "postgres://user:secret@127.0.0.1:1/latchkey" };
    const said = await runCli("bootstrap", settings);
    expect(said).toMatchObject({ code: 1, stdout: "" });
    expect(said.stderr).toContain("set LATCHKEY_MASTER_KEYS");
    expect(said.stderr).not.toContain("secret@");
    expect(existsSync(join(folder.path, "master-keys"))).toBe(false);
  });

  it("refuses other flags", async () => {
    expect(await runCli("bootstrap", {}, "--help")).toMatchObject({ code: 64, stdout: "" });
  });
});
