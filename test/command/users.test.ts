/** The verbs of `latchkey users`, against a running service. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { AuthService } from "../../src/gen/latchkey/v1/auth_service_pb.ts";
import { PASSWORD } from "../support/in-process-service.ts";
import { type CommandWorld, startCommandWorld } from "./command.ts";

let world: CommandWorld;
beforeAll(async () => {
  world = await startCommandWorld();
});
afterAll(() => world[Symbol.asyncDispose]());

const NOBODY = "usr_0000000000000000";
let made = 0;

async function newUser(): Promise<{ id: string; email: string; resetToken: string }> {
  const email = `user-${++made}@example.com`;
  const { user, resetToken } = (await world.operator(["users", "create", "--email", email, "--json"])).json();
  return { id: user.id, email, resetToken };
}

describe("latchkey users create", () => {
  it("writes the one-time token to standard output alone, and the account to standard error", async () => {
    const args = ["users", "create", "--email", "ann@example.com", "--display-name", "Ann Lee", "--tier", "pro"];
    const { code, stdout, stderr } = await world.operator(args);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^\S{40,}\n$/);
    expect(stderr).toMatch(/shown this once:\n.*ann@example\.com.*Ann Lee.*active.*pro.*token ends .*hours\)/s);
    expect(stderr).not.toContain(stdout.trim());
    const auth = world.service.client(AuthService);
    await auth.completePasswordReset({ resetToken: stdout.trim(), newPassword: PASSWORD });
    expect((await auth.login({ email: "ann@example.com", password: PASSWORD })).user?.displayName).toBe("Ann Lee");
  });

  it("ends with 1 for an address that is taken, and with 2 for one that is wrong or missing", async () => {
    const { email } = await newUser();
    expect(await world.operator(["users", "create", "--email", email])).toMatchObject({ code: 1, stdout: "" });
    const wrong = await world.operator(["users", "create", "--email", "no address"]);
    expect(wrong).toMatchObject({ code: 2, stderr: expect.stringMatching(/^latchkey: email: .*\n$/) });
    const missing = await world.operator(["users", "create"]);
    expect(missing).toMatchObject({ code: 2, stderr: expect.stringContaining("--email is needed") });
  });
});

describe("latchkey users list and get", () => {
  it("show the same person, as a table, as JSON and as an id", async () => {
    const { id, email } = await newUser();
    const table = await world.operator(["users", "list", "--email", email.toUpperCase()]);
    expect(table.stdout).toMatch(/^ID +E-MAIL +STATE +TIER +NAME +CREATED +SCOPES\n/);
    expect(table.stdout).toContain(`${id}  ${email}  active`);
    expect((await world.operator(["users", "list", "--email", email, "--quiet"])).stdout).toBe(`${id}\n`);
    const [line] = (await world.operator(["users", "list", "--jsonl"])).stdout.split("\n");
    expect((await world.operator(["users", "get", JSON.parse(line!).id, "--json"])).json().user).toEqual(
      JSON.parse(line!),
    );
  });

  it("end with 5 for an unknown id, and with 4 without the scope admin", async () => {
    expect(await world.operator(["users", "get", NOBODY])).toMatchObject({ code: 5, stdout: "" });
    const env = { LATCHKEY_CREDENTIAL: await world.service.newCredential("verify") };
    const denied = await world.operator(["users", "list"], { env });
    expect(denied).toMatchObject({ code: 4, stderr: expect.stringContaining("from LATCHKEY_CREDENTIAL") });
  });
});

describe("latchkey users update", () => {
  it("changes the fields with a flag, and leaves the others", async () => {
    const { id } = await newUser();
    await world.operator(["users", "update", id, "--display-name", "Bo", "--scopes", "orders:*,invoices:read"]);
    const { code, stdout } = await world.operator(["users", "update", id, "--tier", "enterprise", "--json"]);
    expect(code).toBe(0);
    expect(JSON.parse(stdout).user).toMatchObject({
      ...{ displayName: "Bo", tier: "enterprise", scopes: ["orders:*", "invoices:read"] },
    });
    const cleared = await world.operator(["users", "update", id, "--display-name", "", "--json"]);
    expect(cleared.json().user.displayName).toBe("");
  });

  it("ends with 2 without a flag, and for a tier that does not exist", async () => {
    const { id } = await newUser();
    expect(await world.operator(["users", "update", id])).toMatchObject({ code: 2 });
    expect(await world.operator(["users", "update", id, "--tier", "gold"])).toMatchObject({ code: 2 });
  });
});

describe("latchkey users disable and enable", () => {
  it("change the state, and disable wants --yes without a terminal", async () => {
    const { id } = await newUser();
    const asked = await world.operator(["users", "disable", id]);
    expect(asked).toMatchObject({ code: 2, stderr: expect.stringContaining("--yes") });
    const disabled = await world.operator(["users", "disable", id, "--yes"]);
    expect(disabled).toMatchObject({ code: 0, stdout: expect.stringMatching(/state +disabled/) });
    const enabled = await world.operator(["users", "enable", id, "--json"]);
    expect(enabled.json().user.state).toBe("STATE_ACTIVE");
    expect(await world.operator(["users", "disable", NOBODY, "--yes"])).toMatchObject({ code: 5 });
  });
});

describe("latchkey users reset-password", () => {
  it("gives a token that sets the password, and says what the reset does to keys", async () => {
    const { id, email } = await newUser();
    const { code, stdout, stderr } = await world.operator(["users", "reset-password", id, "--keep-keys"]);
    expect(code).toBe(0);
    expect(stderr).toContain("the reset keeps them");
    const auth = world.service.client(AuthService);
    await auth.completePasswordReset({ resetToken: stdout.trim(), newPassword: PASSWORD });
    await auth.login({ email, password: PASSWORD });
  });

  it("asks before it ends access, and refuses flags that exclude each other", async () => {
    const { id } = await newUser();
    const asked = await world.operator(["users", "reset-password", id, "--end-access"]);
    expect(asked).toMatchObject({ code: 2, stdout: "", stderr: expect.stringContaining("--yes") });
    const ended = await world.operator([
      "users",
      "reset-password",
      id,
      "--end-access",
      "--revoke-keys",
      "--yes",
      "--json",
    ]);
    expect(ended.json()).toMatchObject({ revokesKeys: true });
    const both = await world.operator(["users", "reset-password", id, "--revoke-keys", "--keep-keys", "--yes"]);
    expect(both).toMatchObject({ code: 2, stderr: expect.stringContaining("exclude each other") });
    await world.operator(["users", "disable", id, "--yes"]);
    expect(await world.operator(["users", "reset-password", id])).toMatchObject({ code: 1, stdout: "" });
  });
});

describe("latchkey users end-sessions and clear-failures", () => {
  it("end each session of the person, and forget failed logins", async () => {
    const person = await world.service.newPerson();
    const { id } = person.user;
    expect(await world.operator(["users", "end-sessions", id])).toMatchObject({ code: 2 });
    const ended = await world.operator(["users", "end-sessions", id, "--yes", "--quiet"]);
    expect(ended).toMatchObject({ code: 0, stdout: `${id}\n` });
    await expect(person.auth.refresh({ refreshToken: person.tokens.refreshToken })).rejects.toThrow("log in again");
    const cleared = await world.operator(["users", "clear-failures", id]);
    expect(cleared).toMatchObject({ code: 0, stdout: expect.stringContaining("no longer count") });
    expect(await world.operator(["users", "clear-failures", NOBODY])).toMatchObject({ code: 5 });
  });
});
