/** The version before this one, from the repository's own history. */
import { execFileSync } from "node:child_process";
import { readdirSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { privateFolder, removeFolder } from "./child-process.ts";

const root = join(import.meta.dirname, "../..");
const MIGRATIONS = "src/postgres/migrations";
const MIGRATION = /^\d{4}-.*\.ts$/;

/** A commit, and the migrations that it has. */
export interface PreviousVersion {
  readonly commit: string;
  readonly migrations: readonly string[];
}

/** The migrations of this version, in order. */
export const currentMigrations = (): readonly string[] => migrationsAmong(readdirSync(join(root, MIGRATIONS)));

/**
 * The previous version: the newest version's tag (`v*`) that this commit contains and whose list of migrations differs.
 * Without such a tag, it is the newest commit of the main line whose list differs: the state just before the last
 * migration came.
 *
 * Undefined on a machine without this history: a shallow clone, or a copy of the files without git.
 *
 * @throws Error in CI, so that the test is not green because it did not run
 */
export function previousVersion(environment = process.env): PreviousVersion | undefined {
  const found = [...tags(), ...mainLine()].find(hasFewer);
  if (found !== undefined) return { commit: found, migrations: migrationsAt(found) };
  if (environment.CI) throw new Error("CI needs the previous version: clone with the whole history (fetch-depth: 0)");
  return undefined;
}

/** Copies the sources of a commit into a folder. They run with the packages of this version. */
export function checkOut({ commit }: PreviousVersion): Disposable & { readonly folder: string } {
  const folder = privateFolder("latchkey-previous-");
  const archive = git("archive", "--format=tar", commit, "src", "proto", "package.json", "third_party");
  execFileSync("tar", ["-x", "-C", folder], { input: archive });
  symlinkSync(join(root, "node_modules"), join(folder, "node_modules"));
  return { folder, [Symbol.dispose]: () => removeFolder(folder) };
}

function tags(): string[] {
  return lines("tag", "--list", "v*", "--merged", "HEAD", "--sort=-version:refname");
}

/** HEAD, and the state before each change of the migrations, newest first. */
function mainLine(): string[] {
  const changes = lines("rev-list", "--first-parent", "HEAD", "--", MIGRATIONS);
  return ["HEAD", ...changes.map((commit) => `${commit}^1`)];
}

/** Whether a commit has a part of this version's migrations, and not all. */
function hasFewer(commit: string): boolean {
  const [then, now] = [migrationsAt(commit), currentMigrations()];
  return then.length > 0 && then.length < now.length && then.every((name) => now.includes(name));
}

function migrationsAt(commit: string): readonly string[] {
  return migrationsAmong(lines("ls-tree", "--name-only", `${commit}:${MIGRATIONS}`));
}

function migrationsAmong(files: readonly string[]): readonly string[] {
  return files.filter((name) => MIGRATION.test(name)).map((name) => name.replace(/\.ts$/, ""));
}

function lines(...args: readonly string[]): string[] {
  try {
    return git(...args)
      .toString()
      .split("\n")
      .filter((line) => line !== "");
  } catch {
    // No repository, or a commit that a shallow clone lacks.
    return [];
  }
}

function git(...args: readonly string[]): Buffer {
  return execFileSync("git", ["-C", root, ...args], { maxBuffer: 1 << 28, stdio: ["ignore", "pipe", "ignore"] });
}
