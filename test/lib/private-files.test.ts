/** Files that only this user can read: how they are created, and what is never written or read. */
import { execFileSync } from "node:child_process";
import {
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { mkdtempDisposable } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  createPrivateFile,
  openPrivateFolder,
  readPrivateFile,
  replacePrivateFile,
} from "../../src/lib/private-files.ts";
import { recordingLog } from "../support/recording-log.ts";

const isRoot = process.geteuid?.() === 0;
/** Any user except this one. */
const OTHER_USER = 65_534;
const modeOf = (path: string) => statSync(path).mode & 0o7777;

let folder: Awaited<ReturnType<typeof mkdtempDisposable>>;
let umask: number;
beforeEach(async () => {
  folder = await mkdtempDisposable(join(tmpdir(), "latchkey-private-"));
  umask = process.umask(0o022);
});
afterEach(async () => {
  process.umask(umask);
  await folder.remove();
});
const at = (...names: string[]) => join(folder.path, ...names);

describe("a new secret", () => {
  it.each(["000", "022", "277"])("has mode 0600 under a umask of %s, and no draft is left", (mask) => {
    process.umask(Number.parseInt(mask, 8));
    expect(createPrivateFile(at("secret"), "text")).toBe(true);
    replacePrivateFile(at("other"), "text");
    expect([modeOf(at("secret")), modeOf(at("other"))]).toEqual([0o600, 0o600]);
    expect(readdirSync(folder.path).sort()).toEqual(["other", "secret"]);
  });

  it("is never written into an existing file", () => {
    writeFileSync(at("secret"), "there before", { mode: 0o644 });
    expect(createPrivateFile(at("secret"), "text")).toBe(false);
    expect(readFileSync(at("secret"), "utf8")).toBe("there before");
    expect(readdirSync(folder.path)).toEqual(["secret"]);
  });

  it("replaces an existing file, and users who have the old file open don't see it", () => {
    writeFileSync(at("secret"), "there before", { mode: 0o666 });
    const before = statSync(at("secret")).ino;
    replacePrivateFile(at("secret"), "text");
    expect(readFileSync(at("secret"), "utf8")).toBe("text");
    expect(modeOf(at("secret"))).toBe(0o600);
    expect(statSync(at("secret")).ino).not.toBe(before);
  });

  it.each(["a file", "nothing"])("is never written through a symbolic link to %s", (target) => {
    if (target === "a file") writeFileSync(at("victim"), "there before");
    symlinkSync(at("victim"), at("link"));
    expect(createPrivateFile(at("link"), "text")).toBe(false);
    replacePrivateFile(at("link"), "text");
    expect(lstatSync(at("link")).isFile()).toBe(true);
    expect(readFileSync(at("link"), "utf8")).toBe("text");
    if (target === "a file") expect(readFileSync(at("victim"), "utf8")).toBe("there before");
    else expect(existsSync(at("victim"))).toBe(false);
  });
});

describe("reading a secret", () => {
  it("returns the text of a regular file of this user, or undefined if there is no file", () => {
    expect(readPrivateFile(at("secret"))).toBeUndefined();
    createPrivateFile(at("secret"), "text");
    expect(readPrivateFile(at("secret"))).toBe("text");
  });

  it("fails at a symbolic link", () => {
    createPrivateFile(at("secret"), "text");
    symlinkSync(at("secret"), at("link"));
    expect(() => readPrivateFile(at("link"))).toThrow(`${at("link")} is a symbolic link`);
  });

  it("fails at a pipe without waiting for a writer", () => {
    execFileSync("mkfifo", [at("pipe")]);
    expect(() => readPrivateFile(at("pipe"))).toThrow(`${at("pipe")} is not a regular file`);
  });

  it.skipIf(!isRoot)("refuses a file of another user", () => {
    createPrivateFile(at("secret"), "text");
    chownSync(at("secret"), OTHER_USER, OTHER_USER);
    expect(() => readPrivateFile(at("secret"))).toThrow(`${at("secret")} belongs to user ${OTHER_USER}`);
  });
});

describe("a folder of secrets", () => {
  /** Opens `data`, and returns the warnings. */
  function open(path = at("data")) {
    const log = recordingLog();
    openPrivateFolder(path, { ours: ["secret", "inner"], strict: true, log });
    return log.lines.map(({ level, fields }) => ({ level, ...fields }));
  }

  it("is created with mode 0700, and its missing parents too", () => {
    expect(open(at("a", "data"))).toEqual([]);
    expect([modeOf(at("a")), modeOf(at("a", "data"))]).toEqual([0o700, 0o700]);
  });

  it.each(["0755", "0777", "2775"])(
    "with mode %s is closed together with our files in it, with a warning for each",
    (mode) => {
      mkdirSync(at("data", "inner"), { recursive: true });
      writeFileSync(at("data", "secret"), "text", { mode: 0o644 });
      writeFileSync(at("data", ".gitkeep"), "");
      chmodSync(at("data"), Number.parseInt(mode, 8));
      const warned = open();
      expect([modeOf(at("data")), modeOf(at("data", "inner")), modeOf(at("data", "secret"))]).toEqual([
        0o700, 0o700, 0o600,
      ]);
      expect(warned).toEqual([
        { level: "warn", path: at("data"), mode },
        { level: "warn", path: at("data", "inner"), mode: "0755" },
        { level: "warn", path: at("data", "secret"), mode: "0644" },
      ]);
      expect(open(), "the second time").toEqual([]);
    },
  );

  it.each([
    ["that holds other things", 0o755],
    ["that is shared, such as /tmp", 0o1777],
  ])("%s is not closed to others, but refused with a message that says what to do", (what, mode) => {
    mkdirSync(at("data"));
    if (what.includes("other things")) writeFileSync(at("data", "other.txt"), "");
    chmodSync(at("data"), mode);
    expect(() => open()).toThrow(/lets others in \(mode [01]7[57][57]\).*run chmod 700 .* or set LATCHKEY_DATA_DIR/);
    expect(modeOf(at("data"))).toBe(mode);
    chmodSync(at("data"), 0o700);
    expect(() => open(), "closed by its owner").not.toThrow();
  });

  it.skipIf(!isRoot)("is refused if it belongs to another user", () => {
    mkdirSync(at("data"), { mode: 0o700 });
    chownSync(at("data"), OTHER_USER, OTHER_USER);
    expect(() => open()).toThrow(
      new RegExp(`^the data folder .* belongs to user ${OTHER_USER}, and this process runs as user 0`),
    );
  });

  it.skipIf(!isRoot).each(["file", "link"])("is refused if a %s of another user is in our file's place", (kind) => {
    mkdirSync(at("data"), { mode: 0o777 });
    if (kind === "file") writeFileSync(at("data", "secret"), "planted");
    else symlinkSync("/etc/hostname", at("data", "secret"));
    execFileSync("chown", ["--no-dereference", `${OTHER_USER}`, at("data", "secret")]);
    expect(() => open()).toThrow(`${at("data", "secret")} belongs to user ${OTHER_USER}`);
  });
});
