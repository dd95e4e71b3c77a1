/** `latchkey login`, `logout` and `whoami`, against a running service. */
import { readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { PASSWORD, type Person } from "../support/in-process-service.ts";
import { type CommandOptions, type CommandWorld, command, type Home, makeHome, startCommandWorld } from "./command.ts";

let world: CommandWorld;
let home: Home;
let person: Person;
beforeAll(async () => {
  world = await startCommandWorld();
  person = await world.service.newPerson();
});
afterAll(() => world[Symbol.asyncDispose]());
beforeEach(() => {
  home = makeHome();
});
afterEach(() => home[Symbol.dispose]());

/** Runs a command line as a person: no credential in the environment. */
function asPerson(args: readonly string[], options: CommandOptions = {}) {
  const env = { ...home.env, LATCHKEY_ADDRESS: world.env.LATCHKEY_ADDRESS, ...options.env };
  return command(args, { ...options, env });
}

const login = (more: CommandOptions = {}) =>
  asPerson(["login", "--email", person.email], { input: `${PASSWORD}\n`, ...more });

const file = () => join(home.folder, ".config/latchkey/config.json");
const profile = () => JSON.parse(readFileSync(file(), "utf8")).profiles.default;

/** Makes the kept access token look expired, so that the next call exchanges the refresh token. */
function expire(): void {
  const all = JSON.parse(readFileSync(file(), "utf8"));
  all.profiles.default.accessTokenExpireTime = "2020-01-01T00:00:00.000Z";
  writeFileSync(file(), JSON.stringify(all));
}

describe("latchkey login", () => {
  it("keeps the session in the profile, for this user alone, and shows no token", async () => {
    const { code, stdout, stderr } = await login();
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toMatch(new RegExp(`^logged in as ${person.email}\n`));
    const { accessToken, refreshToken } = profile();
    expect(stdout).not.toContain(refreshToken);
    expect(statSync(file()).mode & 0o777).toBe(0o600);
    const json = await login({ env: {} });
    expect(json.stdout).not.toContain(accessToken);
    const who = await asPerson(["whoami"]);
    expect(who).toMatchObject({ code: 0, stdout: expect.stringMatching(/session of the profile "default"/) });
    expect((await asPerson(["whoami", "--quiet"])).stdout).toBe(`${person.user.id}\n`);
  });

  it("gives the session to the other verbs: a person issues their own keys", async () => {
    await login();
    const issued = await asPerson(["keys", "issue", "--name", "mine", "--json"]);
    expect(issued.json().key.ownerId).toBe(person.user.id);
    expect((await asPerson(["users", "list"])).code).toBe(4);
  });

  it("ends the earlier session of the profile", async () => {
    await login();
    const { refreshToken } = profile();
    await login();
    await expect(person.auth.refresh({ refreshToken })).rejects.toThrow("log in again");
  });

  it("ends with 4 for a wrong password, and with 2 for none", async () => {
    const wrong = await login({ input: `${PASSWORD} \n` });
    expect(wrong).toMatchObject({ code: 4, stdout: "", stderr: expect.stringMatching(/^latchkey: [^\n]+\n$/) });
    expect(wrong.stderr).not.toContain(PASSWORD);
    expect(await login({ input: "" })).toMatchObject({ code: 2, stderr: expect.stringContaining("no password") });
    expect(await asPerson(["login"], { input: PASSWORD })).toMatchObject({ code: 2 });
    expect(await asPerson(["login", "--password", PASSWORD])).toMatchObject({ code: 2 });
  });

  it("refuses a profile of another address, or with a service credential", async () => {
    await asPerson(["config", "set", "address", "http://127.0.0.1:9"]);
    expect(await login()).toMatchObject({ code: 2, stderr: expect.stringContaining("another address") });
    await asPerson(["config", "set", "address", ""]);
    await asPerson(["config", "set", "credential"], { input: world.service.admin });
    await asPerson(["config", "set", "address", world.env.LATCHKEY_ADDRESS!]);
    expect(await login()).toMatchObject({ code: 2, stderr: expect.stringContaining("service credential") });
  });

  it("sets the first password by the one-time token of an operator, and logs in", async () => {
    const email = "new@example.com";
    const { stdout: token } = await world.operator(["users", "create", "--email", email]);
    const lacking = await asPerson(["login", "--reset"], { input: token });
    expect(lacking).toMatchObject({ code: 2, stderr: expect.stringContaining("must have 2 lines") });
    const { code, stdout } = await asPerson(["login", "--reset"], { input: `${token}a new ${PASSWORD}\n` });
    expect({ code, stdout }).toMatchObject({ code: 0, stdout: expect.stringContaining(`logged in as ${email}`) });
    expect((await asPerson(["whoami", "--json"])).json().user.email).toBe(email);
    const again = await asPerson(["login", "--email", email], { input: `a new ${PASSWORD}` });
    expect(again).toMatchObject({ code: 0, stderr: "" });
    const used = await asPerson(["login", "--reset"], { input: `${token}another ${PASSWORD}\n` });
    expect(used).toMatchObject({ code: expect.toSatisfy((one) => one !== 0), stdout: "" });
  });

  it("says that a credential of the environment is used instead", async () => {
    const { code, stdout } = await login({ env: { LATCHKEY_CREDENTIAL: world.service.admin } });
    expect({ code, stdout }).toMatchObject({ code: 0, stdout: expect.stringContaining("LATCHKEY_CREDENTIAL is used") });
  });
});

describe("the session of a person", () => {
  it("is exchanged once its access token has expired, and the successor is saved", async () => {
    await login();
    const before = profile();
    expire();
    expect((await asPerson(["whoami"])).code).toBe(0);
    const after = profile();
    expect(after.refreshToken).not.toBe(before.refreshToken);
    expect(after.accessToken).not.toBe(before.accessToken);
    expect(statSync(file()).mode & 0o777).toBe(0o600);
  });

  it("is exchanged if the service refuses the access token that still looks good", async () => {
    await login();
    const all = JSON.parse(readFileSync(file(), "utf8"));
    const { refreshToken, accessToken } = profile();
    all.profiles.default.accessToken = `${accessToken.slice(0, -8)}AAAAAAAA`;
    writeFileSync(file(), JSON.stringify(all));
    expect((await asPerson(["whoami"])).code).toBe(0);
    expect(profile().refreshToken).not.toBe(refreshToken);
  });

  it("survives commands at the same time, although each refresh token works once", async () => {
    await login();
    for (let round = 0; round < 2; round++) {
      expire();
      const outcomes = await Promise.all(Array.from({ length: 4 }, () => asPerson(["whoami"])));
      expect(outcomes.map(({ code }) => code)).toEqual([0, 0, 0, 0]);
    }
  });

  it("ends with 4 and the advice to log in, once the service has ended it", async () => {
    await login();
    await world.operator(["users", "end-sessions", person.user.id, "--yes"]);
    expire();
    const ended = await asPerson(["whoami"]);
    expect(ended).toMatchObject({ code: 4, stdout: "", stderr: expect.stringContaining("run: latchkey login") });
    expect((await login()).code).toBe(0);
  });

  it("never goes to another address, and ends here when the profile gets one", async () => {
    await login();
    const elsewhere = { env: { LATCHKEY_ADDRESS: "http://127.0.0.1:9" } };
    expect(await asPerson(["whoami"], elsewhere)).toMatchObject({ code: 4 });
    expect(await asPerson(["logout"], elsewhere)).toMatchObject({ code: 2 });
    await asPerson(["config", "set", "address", "http://127.0.0.1:9"]);
    expect(profile()).toEqual({ address: "http://127.0.0.1:9", email: person.email });
  });

  it("keeps a service credential out of its profile", async () => {
    await login();
    const set = await asPerson(["config", "set", "credential"], { input: world.service.admin });
    expect(set).toMatchObject({ code: 2, stderr: expect.stringContaining("latchkey logout") });
    expect((await asPerson(["config", "list"])).stdout).toContain(`session of ${person.email}`);
  });
});

describe("latchkey logout", () => {
  it("ends the session at the service and here, and does nothing the second time", async () => {
    await login();
    const { refreshToken } = profile();
    expect(await asPerson(["logout"])).toMatchObject({ code: 0, stdout: expect.stringContaining("logged out of") });
    expect(profile()).toEqual({ address: world.env.LATCHKEY_ADDRESS, email: person.email });
    await expect(person.auth.refresh({ refreshToken })).rejects.toThrow("log in again");
    expect(await asPerson(["logout"])).toMatchObject({ code: 0, stdout: expect.stringContaining("has no session") });
    expect(await asPerson(["whoami"])).toMatchObject({ code: 4, stderr: expect.stringContaining("latchkey login") });
  });

  it("keeps the session for another attempt while the service is unreachable", async () => {
    await login();
    const all = JSON.parse(readFileSync(file(), "utf8"));
    all.profiles.default.address = "http://127.0.0.1:9";
    writeFileSync(file(), JSON.stringify(all));
    const env = { LATCHKEY_ADDRESS: undefined };
    expect(await asPerson(["logout"], { env })).toMatchObject({ code: 3, stdout: "" });
    expect(profile().refreshToken).toMatch(/\S/);
  });
});
