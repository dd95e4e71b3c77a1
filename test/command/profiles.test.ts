/** Where the address and the credential come from, and the file of profiles. */
import { chmodSync, mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { resolveSettings } from "../../cli/src/settings.ts";
import { command, makeHome, recordedIo } from "./command.ts";

const CREDENTIAL = "kit_svc_of_the_profile";

describe("latchkey config", () => {
  it("keeps an address and a credential under a name, in a file of 0600 in a folder of 0700", async () => {
    using home = makeHome();
    const config = (line: string, input = "") => command(["config", ...line.split(" ")], { input, env: home.env });
    expect((await config("set address auth.example.com --profile production")).code).toBe(0);
    expect((await config("set credential --profile production", `${CREDENTIAL}\n`)).code).toBe(0);
    expect((await config("use production")).code).toBe(0);
    const folder = join(home.folder, ".config/latchkey");
    expect([statSync(folder).mode & 0o777, statSync(join(folder, "config.json")).mode & 0o777]).toEqual([0o700, 0o600]);
    expect(JSON.parse(readFileSync(join(folder, "config.json"), "utf8"))).toEqual({
      current: "production",
      profiles: { production: { address: "https://auth.example.com", credential: CREDENTIAL } },
    });
    expect((await config("get address")).stdout).toBe("https://auth.example.com\n");
    expect((await config("list")).stdout).toMatch(/^ +PROFILE +ADDRESS +CREDENTIAL\n\* +production +https:.*stored\n$/);
    const shown = [await config("list"), await config("list --json"), await config("get credential")];
    for (const { code, stdout } of shown) {
      expect(code).toBe(0);
      expect(stdout).not.toContain(CREDENTIAL);
    }
    expect(await config("get credential-file")).toMatchObject({ code: 5 });
    expect((await config("set address ")).code).toBe(0);
    expect((await config("get address")).code).toBe(5);
  });

  it("takes no credential as an argument, no wrong address, and no odd name", async () => {
    using home = makeHome();
    for (const line of [
      "set credential x",
      "set address",
      "set address :x",
      "set address a --profile ../x",
      "set x y",
    ]) {
      expect(await command(["config", ...line.split(" ")], { env: home.env }), line).toMatchObject({ code: 2 });
    }
    expect(await command(["config", "set", "credential"], { env: home.env, input: "a b" })).toMatchObject({ code: 2 });
    expect(await command(["config", "use", "toString"], { env: home.env })).toMatchObject({ code: 5 });
    expect(await command(["config", "list"], { env: home.env })).toMatchObject({ code: 0 });
  });

  it("works without a home, except for what would have to be kept", async () => {
    expect(await command(["config", "list"])).toMatchObject({ code: 0 });
    expect(await command(["config", "list"], { env: { HOME: "relative" } })).toMatchObject({ code: 0 });
    expect(await command(["config", "set", "address", "localhost:1"])).toMatchObject({
      ...{ code: 1, stderr: expect.stringMatching(/set HOME or XDG_CONFIG_HOME/) },
    });
  });
});

describe("a file of profiles", () => {
  const path = (folder: string) => join(folder, "latchkey/config.json");
  const make = (folder: string, text: string) => {
    mkdirSync(join(folder, "latchkey"), { mode: 0o700 });
    writeFileSync(path(folder), text, { mode: 0o600 });
  };
  const list = (folder: string) => command(["config", "list"], { env: { XDG_CONFIG_HOME: folder } });

  it.each([0o644, 0o640, 0o602])("that others may use (mode %o) is refused, with what to do", async (mode) => {
    using home = makeHome();
    make(home.folder, "{}");
    chmodSync(path(home.folder), mode);
    const said = expect.stringMatching(/open to other users.*chmod 600/);
    expect(await list(home.folder)).toMatchObject({ code: 1, stderr: said });
    expect(await command(["keys", "list"], { env: { XDG_CONFIG_HOME: home.folder } })).toMatchObject({
      code: 1,
      stderr: said,
    });
  });

  it("in a folder that others may enter is refused, to read and to write", async () => {
    using home = makeHome();
    make(home.folder, "{}");
    chmodSync(join(home.folder, "latchkey"), 0o755);
    expect(await list(home.folder)).toMatchObject({ code: 1, stderr: expect.stringMatching(/chmod 700/) });
    const set = ["config", "set", "address", "localhost:1"];
    expect(await command(set, { env: { XDG_CONFIG_HOME: home.folder } })).toMatchObject({ code: 1 });
  });

  it.each([
    "",
    "[]",
    "{",
    '{"profiles": 1}',
    '{"profiles": {"a": {"address": 1}}}',
    '{"profiles": {"a": null}}',
    "null",
  ])("with the content %j is refused, and not repeated", async (text) => {
    using home = makeHome();
    make(home.folder, text);
    expect(await list(home.folder)).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/is not a file of profiles/),
    });
  });

  it("that is a symbolic link is refused, and a write goes to no link's target", async () => {
    using home = makeHome();
    make(home.folder, "{}");
    const link = join(home.folder, "linked");
    mkdirSync(join(link, "latchkey"), { recursive: true, mode: 0o700 });
    symlinkSync(path(home.folder), path(link));
    expect(await list(link)).toMatchObject({ code: 1, stderr: expect.stringMatching(/symbolic link/) });
  });
});

describe("settings", () => {
  const FLAGS = { format: "people", yes: false } as const;
  const saved = async (env: Readonly<Record<string, string>>) => {
    for (const [setting, value] of [
      ["address", "https://auth.example.com"],
      ["credential", undefined],
    ] as const) {
      const args = ["config", "set", setting, ...(value === undefined ? [] : [value])];
      expect((await command(args, { env, input: value === undefined ? CREDENTIAL : "" })).code).toBe(0);
    }
  };

  it("come from flags, else from the environment, else from the profile, else from the default", async () => {
    using home = makeHome();
    const file = join(home.folder, "credential");
    writeFileSync(file, "from-the-file\n");
    const resolve = (flags: object, env: object) => {
      const { address, credential } = resolveSettings({ ...FLAGS, ...flags }, recordedIo({ ...home.env, ...env }));
      return [address, credential?.source];
    };
    expect(resolve({}, {})).toEqual(["http://127.0.0.1:8080", undefined]);
    await saved(home.env);
    expect(resolve({}, {})).toEqual(["https://auth.example.com", CREDENTIAL]);
    const env = { LATCHKEY_ADDRESS: "10.0.0.1:8080", LATCHKEY_CREDENTIAL: "from-env", LATCHKEY_CREDENTIAL_FILE: file };
    expect(resolve({}, env)).toEqual(["https://10.0.0.1:8080", "from-env"]);
    expect(resolve({}, { ...env, LATCHKEY_CREDENTIAL: "" })).toEqual(["https://10.0.0.1:8080", "from-the-file"]);
    expect(resolve({ address: "localhost:1/", credentialFile: file }, env)).toEqual([
      ...["http://localhost:1", "from-the-file"],
    ]);
  });

  it("send a profile's credential to no other address than the profile's own", async () => {
    using home = makeHome();
    await saved(home.env);
    const credential = (address: string) =>
      resolveSettings({ ...FLAGS, address }, recordedIo(home.env)).credential?.source;
    expect(credential("https://evil.example.com")).toBeUndefined();
    expect(credential("http://auth.example.com")).toBeUndefined();
    expect(credential("auth.example.com/")).toBe(CREDENTIAL);
  });

  it.each([
    ["LATCHKEY_CREDENTIAL", { LATCHKEY_CREDENTIAL: "Bearer kit_svc_x" }, 2],
    ["LATCHKEY_CREDENTIAL_FILE", { LATCHKEY_CREDENTIAL_FILE: "/nonexistent" }, 4],
    ["LATCHKEY_ADDRESS", { LATCHKEY_ADDRESS: "http://a b" }, 2],
  ])("that are wrong in %s are named, and not repeated", async (name, env, code) => {
    const outcome = await command(["keys", "list"], { env });
    expect(outcome).toMatchObject({ code, stderr: expect.stringContaining(name) });
    for (const value of Object.values(env)) expect(outcome.stderr).not.toContain(value);
  });
});
