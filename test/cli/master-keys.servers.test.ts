/** The command as its operators run it. */
import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { Database } from "../../src/postgres/database.ts";
import { freshTarget } from "../support/database.ts";
import { runCli } from "../support/run-cli.ts";

const [one, two] = [1, 2].map((version) => `${version}:${randomBytes(32).toString("base64")}`) as [string, string];

describe("npm run master-keys", { timeout: 60_000 }, () => {
  let remove: (() => Promise<void>) | undefined;
  afterEach(() => remove?.());

  async function newFolder(): Promise<string> {
    const fresh = await freshTarget("embedded");
    if (fresh.target.kind !== "embedded") throw new Error("unreachable");
    remove = fresh.remove;
    return fresh.target.folder;
  }

  const run = (folder: string, settings: Record<string, string>, ...flags: string[]) =>
    runCli("master-keys", { LATCHKEY_DATA_DIR: folder, ...settings }, ...flags);

  it("shows the standing of each version, and at the end which may be removed, and writes nothing", async () => {
    const folder = await newFolder();
    const said = await run(folder, { LATCHKEY_MASTER_KEYS: `${two},${one}` });
    expect(said).toMatchObject({ code: 0, stderr: "" });
    expect(said.stdout.split("\n")).toEqual([
      "version 2: first in the ring; no process has started with it yet",
      "version 1: in the ring; no process has started with it yet",
      "may be removed: 1; must stay: 2 (it is the first of the ring)",
      "",
    ]);
    // A version that had been made known would now be one with other bytes.
    const other = `1:${randomBytes(32).toString("base64")}`;
    expect((await run(folder, { LATCHKEY_MASTER_KEYS: other })).stdout).toContain("no process has started with it");
    const json = JSON.parse((await run(folder, { LATCHKEY_MASTER_KEYS: `${two},${one}` }, "--json")).stdout);
    expect(json.versions).toEqual([
      expect.objectContaining({ version: 2, first: true, may_be_removed: false }),
      {
        version: 1,
        in_ring: true,
        first: false,
        check: "unknown",
        uses: [],
        may_be_removed: true,
        reasons: [],
      },
    ]);
  });

  it("says what to do if a service runs on the embedded database, and if there are no keys", async () => {
    const folder = await newFolder();
    const lacking = await run(folder, {});
    expect(lacking).toMatchObject({ code: 1, stdout: "", stderr: expect.stringContaining("LATCHKEY_MASTER_KEYS") });
    expect(existsSync(join(folder, "master-keys"))).toBe(false);
    const holder = await Database.open({ target: { kind: "embedded", folder } });
    const refused = await run(folder, { LATCHKEY_MASTER_KEYS: one });
    await holder.close();
    expect(refused).toMatchObject({
      code: 1,
      stdout: "",
      stderr: expect.stringMatching(/in use by process \d+; stop it/),
    });
    const unknown = await run(folder, { LATCHKEY_MASTER_KEYS: one }, "--yes");
    expect(unknown).toMatchObject({ code: 64, stderr: expect.stringMatching(/^usage: /) });
    const empty = join(folder, "empty");
    const without = await run(empty, { LATCHKEY_MASTER_KEYS: one });
    expect(without).toMatchObject({ code: 1, stderr: expect.stringContaining("there is no database in") });
    expect(existsSync(empty)).toBe(false);
  });
});
