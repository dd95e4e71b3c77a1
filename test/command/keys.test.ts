/** The verbs of `latchkey keys` and `latchkey limits`, against a running service. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Person } from "../support/in-process-service.ts";
import { type CommandWorld, startCommandWorld } from "./command.ts";

let world: CommandWorld;
let person: Person;
beforeAll(async () => {
  world = await startCommandWorld();
  person = await world.service.newPerson();
});
afterAll(() => world[Symbol.asyncDispose]());

async function issue(...flags: readonly string[]): Promise<{ id: string; raw: string }> {
  const args = ["keys", "issue", "--owner", person.user.id, "--name", "a key", "--json", ...flags];
  const { key, apiKey } = (await world.operator(args)).json();
  return { id: key.id, raw: apiKey };
}

describe("latchkey keys issue", () => {
  it("writes the raw key to standard output alone, and what the key is to standard error", async () => {
    const flags = ["--scopes", "orders:read,orders:write", "--expires", "30d", "--metadata", "team=payments"];
    const { code, stdout, stderr } = await world.operator(
      ["keys", "issue", "--owner", person.user.id, "--name", "laptop", ...flags],
      { columns: 80 },
    );
    expect(code).toBe(0);
    expect(stdout).toMatch(/^kit_live_[0-9A-Za-z]{65}\n$/);
    expect(stderr).toMatch(/laptop.*orders:read orders:write.*payments.*in 30 days/s);
    expect(stderr).not.toContain(stdout.trim());
  });
});

describe("latchkey keys verify", () => {
  it("ends with 0 for a good key, and with 1 for a refused one", async () => {
    const { raw } = await issue("--scopes", "orders:read");
    const good = await world.operator(["keys", "verify", "--scopes", "orders:read"], { input: `${raw}\n` });
    expect(good).toMatchObject({ code: 0, stdout: expect.stringMatching(/^VALID\n/), stderr: "" });
    const refused = await world.operator(["keys", "verify", "--scopes", "orders:write", "--json"], { input: raw });
    expect(refused.code).toBe(1);
    expect(refused.json()).toMatchObject({ valid: false, verdict: "VERDICT_SCOPE_MISSING" });
  });
});
