/**
 * The files that the Dockerfile copies are enough for the commands that its users run. No Docker is needed to show
 * that.
 */
import { spawnSync } from "node:child_process";
import { cpSync, readFileSync, symlinkSync } from "node:fs";
import { mkdtempDisposable } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";

const root = join(import.meta.dirname, "..");
const dockerfile = readFileSync(join(root, "Dockerfile"), "utf8");

describe("the image", () => {
  const bootstrap =
    "has all that npm run bootstrap and master-keys are made of, as the first operator of a container runs them";
  it(bootstrap, { timeout: 120_000 }, async () => {
    await using folder = await imageFolder();
    const env = { ...process.env, DATABASE_URL: undefined, LATCHKEY_DATA_DIR: join(folder.path, "data") };
    const run = (script: string) => {
      const made = spawnSync("npm", ["run", "--silent", script], { cwd: folder.path, env, encoding: "utf8" });
      return { status: made.status, stdout: made.stdout, stderr: made.status === 0 ? "" : made.stderr };
    };
    expect(run("bootstrap")).toEqual({ status: 0, stdout: expect.stringMatching(/^kit_svc_\w{65}\n$/), stderr: "" });
    expect(run("master-keys")).toMatchObject({ status: 0, stderr: "" });
  });

  it("has the files of the page /docs", async () => {
    await using folder = await imageFolder();
    const code = 'console.log((await import("./src/rpc/standard/docs-page.ts")).docsPages().size)';
    const flags = ["--input-type=module", "--eval", code];
    const made = spawnSync(process.execPath, flags, { cwd: folder.path, encoding: "utf8" });
    expect([made.stdout, made.stderr]).toEqual(["4\n", ""]);
  });
});

/** A folder with what the image has. */
async function imageFolder() {
  const folder = await mkdtempDisposable(join(tmpdir(), "latchkey-image-"));
  for (const path of copied()) cpSync(join(root, path), join(folder.path, path), { recursive: true });
  symlinkSync(join(root, "node_modules"), join(folder.path, "node_modules"));
  return folder;
}

/** The files that the Dockerfile copies from the project and .dockerignore lets through. */
function copied(): readonly string[] {
  const sources = [...dockerfile.matchAll(/^COPY (?!--from)(.+) \S+$/gm)].flatMap(([, paths]) => paths!.split(" "));
  const ignore = readFileSync(join(root, ".dockerignore"), "utf8").split("\n");
  expect(ignore).toContain("*");
  for (const source of sources) expect(ignore).toContain(`!${source}`);
  return sources;
}
