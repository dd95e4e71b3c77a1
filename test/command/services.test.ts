/** The verbs of `latchkey services` and `latchkey signing-keys`, against a running service. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type CommandWorld, type Outcome, startCommandWorld } from "./command.ts";

let world: CommandWorld;
beforeAll(async () => {
  world = await startCommandWorld();
});
afterAll(() => world[Symbol.asyncDispose]());

async function issue(name: string, scopes: string): Promise<{ id: string; secret: string }> {
  const args = ["services", "issue", "--name", name, "--scopes", scopes, "--json"];
  const { credential, secret } = (await world.operator(args)).json();
  return { id: credential.id, secret };
}

/** A call that a credential with the scope verify may make. */
const check = (secret: string): Promise<Outcome> =>
  world.operator(["limits", "check", "--name", "x", "--limit", "l", "--per-day", "9"], {
    env: { LATCHKEY_CREDENTIAL: secret },
  });

describe("latchkey services issue", () => {
  it("writes a credential that works to standard output alone", async () => {
    const args = ["services", "issue", "--name", "orders", "--scopes", "verify,manage", "--expires", "90d"];
    const { code, stdout, stderr } = await world.operator(args, { columns: 80 });
    expect(code).toBe(0);
    expect(stdout).toMatch(/^kit_svc_[0-9A-Za-z]{40,}\n$/);
    expect(stderr).toMatch(/shown this once:.*orders.*active.*verify manage.*in 3 months/s);
    expect((await check(stdout.trim())).code).toBe(0);
  });

  it("ends with 2 for a scope that does not exist, or with no name", async () => {
    const wrong = await world.operator(["services", "issue", "--name", "x", "--scopes", "root"]);
    expect(wrong).toMatchObject({ code: 2, stdout: "", stderr: expect.stringMatching(/^latchkey: scopes/) });
    expect(await world.operator(["services", "issue", "--scopes", "verify"])).toMatchObject({ code: 2 });
  });
});

describe("latchkey services list", () => {
  it("shows revoked credentials only with --all", async () => {
    const { id } = await issue("old", "verify");
    await world.operator(["services", "revoke", id, "--yes"]);
    expect((await world.operator(["services", "list", "--quiet"])).stdout).not.toContain(id);
    const all = await world.operator(["services", "list", "--all"]);
    expect(all.stdout).toMatch(/^ID +NAME +STATE +SCOPES +LAST USED +EXPIRES +CREATED +BEGINS WITH\n/);
    expect(all.stdout).toMatch(new RegExp(`^${id} +old +revoked +verify `, "m"));
    const { credentials, totalSize } = (await world.operator(["services", "list", "--all", "--json"])).json();
    expect(credentials).toHaveLength(totalSize);
  });
});

describe("latchkey services update", () => {
  it("changes the name and the names of certificates, each alone, and an empty value clears the list", async () => {
    const issued = ["services", "issue", "--name", "shop", "--scopes", "verify", "--certificate-names", "a.internal"];
    const { credential } = (await world.operator([...issued, "--json"])).json();
    expect(credential.certificateNames).toEqual(["a.internal"]);
    const update = (...flags: string[]) => world.operator(["services", "update", credential.id, ...flags]);
    const both = await update("--certificate-names", "b.internal,spiffe://example.org/b", "--json");
    const [name, certificateNames] = ["shop", ["b.internal", "spiffe://example.org/b"]];
    expect(both.json().credential).toMatchObject({ id: credential.id, name, certificateNames });
    const shown = await update("--name", "shops");
    expect(shown.stdout).toMatch(/name +shops\n.*certificates +b\.internal spiffe:\/\/example\.org\/b\n/s);
    expect((await update("--certificate-names", "", "--json")).json().credential.certificateNames).toEqual([]);
    expect((await update("--name", "shop", "--quiet")).stdout).toBe(`${credential.id}\n`);
  });

  it("ends with 2 for nothing to change or a wildcard, 1 for a name that another one has, 5 for an unknown one", async () => {
    const { id } = await issue("plain", "verify");
    expect(await world.operator(["services", "update", id])).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("nothing to change"),
    });
    const named = (who: string, names: string) =>
      world.operator(["services", "update", who, "--certificate-names", names]);
    expect(await named(id, "*.internal")).toMatchObject({ code: 2 });
    const other = await issue("other", "verify");
    expect(await named(other.id, "taken.internal")).toMatchObject({ code: 0 });
    expect(await named(id, "taken.internal")).toMatchObject({ code: 1, stderr: expect.stringContaining("taken") });
    expect(await named("svc_0000000000000000", "free.internal")).toMatchObject({ code: 5 });
  });
});

describe("latchkey services rotate", () => {
  it("gives another secret, and asks before it ends the older ones at once", async () => {
    const { id, secret } = await issue("billing", "verify");
    const asked = await world.operator(["services", "rotate", id, "--overlap", "0s"]);
    expect(asked).toMatchObject({ code: 2, stderr: expect.stringContaining("--yes") });
    const { code, stdout } = await world.operator(["services", "rotate", id, "--overlap", "0s", "--yes", "--quiet"]);
    expect(code).toBe(0);
    expect((await check(stdout.trim())).code).toBe(0);
    await expect.poll(async () => (await check(secret)).code).toBe(4);
  });
});

describe("latchkey services revoke", () => {
  it("ends a credential, and ends with 5 for an unknown one and 1 for the last operator's", async () => {
    const { id, secret } = await issue("gone", "verify");
    const { code, stdout } = await world.operator(["services", "revoke", id, "--reason", "retired", "--yes"]);
    expect({ code, stdout }).toMatchObject({ code: 0, stdout: expect.stringMatching(/state +revoked/) });
    await expect.poll(async () => (await check(secret)).code).toBe(4);
    expect(await world.operator(["services", "revoke", id])).toMatchObject({ code: 2 });
    expect(await world.operator(["services", "revoke", "svc_0000000000000000", "--yes"])).toMatchObject({ code: 5 });
    const { credentials } = (await world.operator(["services", "list", "--json"])).json();
    const last = credentials.find((one: { scopes: string[] }) => one.scopes.includes("admin"));
    const refused = await world.operator(["services", "revoke", last.id, "--yes"]);
    expect(refused).toMatchObject({ code: 1, stderr: expect.stringContaining("last usable admin credential") });
  });
});

describe("latchkey signing-keys", () => {
  it("list, rotate and revoke lead a key from next to revoked", async () => {
    await world.service.newPerson();
    const first = (await world.operator(["signing-keys", "list", "--json"])).json();
    expect(first).toEqual({ keys: [expect.objectContaining({ state: "STATE_ACTIVE" })] });
    const rotated = await world.operator(["signing-keys", "rotate"]);
    expect(rotated).toMatchObject({ code: 0, stdout: expect.stringMatching(/state +next\n.*signs from .*\(in /s) });
    const next = (await world.operator(["signing-keys", "rotate", "--quiet"])).stdout.trim();
    expect(rotated.stdout).toContain(next);
    expect(await world.operator(["signing-keys", "revoke", next])).toMatchObject({ code: 2 });
    const revoked = await world.operator(["signing-keys", "revoke", next, "--yes", "--json"]);
    expect(revoked.json().key).toMatchObject({ id: next, state: "STATE_REVOKED" });
    const table = await world.operator(["signing-keys", "list"]);
    expect(table.stdout).toMatch(/^ID +STATE +ALGORITHM +SIGNS FROM +SIGNS UNTIL +CREATED\n/);
    expect((await world.operator(["signing-keys", "list", "--jsonl"])).stdout.trim().split("\n")).toHaveLength(2);
    expect(await world.operator(["signing-keys", "revoke", "a".repeat(43), "--yes"])).toMatchObject({ code: 5 });
  });
});
