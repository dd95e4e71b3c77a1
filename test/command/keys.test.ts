/** The verbs of `latchkey keys`, `limits` and `status` against a running service, with their exit codes. */
import { PassThrough } from "node:stream";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Person } from "../support/in-process-service.ts";
import { type CommandWorld, command, type Outcome, startCommandWorld } from "./command.ts";

const RAW = /^kit_live_[0-9A-Za-z]{65}\n$/;
const NO_KEY = "key_AbCd1234AbCd1234";

let world: CommandWorld;
let person: Person;
beforeAll(async () => {
  world = await startCommandWorld();
  person = await world.service.newPerson();
});
afterAll(() => world[Symbol.asyncDispose]());

function operator(line: string, input = ""): Promise<Outcome> {
  return world.operator(line.split(" "), { input });
}

async function issue(flags = ""): Promise<{ id: string; raw: string }> {
  const { key, apiKey } = (await operator(`keys issue --owner ${person.user.id} --name key --json${flags}`)).json();
  return { id: key.id, raw: apiKey };
}

describe("latchkey keys issue", () => {
  it("writes the raw key to standard output alone, and the key's fields to standard error", async () => {
    const flags = "--name laptop --scopes orders:read,orders:write --expires 30d --metadata team=payments,n=1=2";
    const { code, stdout, stderr } = await operator(`keys issue --owner ${person.user.id} ${flags}`);
    expect(code).toBe(0);
    expect(stdout).toMatch(RAW);
    expect(stderr).toMatch(/laptop.*orders:read orders:write.*payments.*1=2.*\(in 30 days\)/s);
    expect(stderr).not.toContain(stdout.trim());
  });

  it("sends every flag as its field", async () => {
    const limits = "--per-minute 5 --per-day 50 --allowed-ips 10.0.0.0/8,::1 --allowed-methods /a,/b";
    const flags = `--name k --description d --tier basic --environment test ${limits}`;
    const { key } = (await operator(`keys issue --owner ${person.user.id} ${flags} --json`)).json();
    expect(key).toMatchObject({
      ...{ name: "k", description: "d", tier: "basic", environment: "test", limits: { perMinute: 5, perDay: 50 } },
      ...{ allowedIps: ["10.0.0.0/8", "::1"], allowedMethods: ["/a", "/b"] },
    });
  });

  it("with --quiet writes the secret and nothing else, to either stream", async () => {
    const { stdout, stderr } = await operator(`keys issue --owner ${person.user.id} --name k --quiet`);
    expect(stdout).toMatch(RAW);
    expect(stderr).toBe("");
  });
});

describe("latchkey keys verify", () => {
  it("ends with 0 for a good key, and with 1 for a refused one", async () => {
    const { raw } = await issue(" --scopes orders:read");
    const good = await operator("keys verify --scopes orders:read", `${raw}\n`);
    expect(good).toMatchObject({ code: 0, stdout: expect.stringMatching(/^VALID\n.*orders:read.*minute +20 +19/s) });
    const refused = await operator("keys verify --scopes orders:write --json", raw);
    expect(refused.code).toBe(1);
    expect(refused.json()).toMatchObject({ valid: false, verdict: "VERDICT_SCOPE_MISSING" });
    expect(await operator("keys verify", "no key")).toMatchObject({ code: 1, stdout: "INVALID\n" });
  });

  it("passes on what the call is for, and never shows the raw key", async () => {
    const { id, raw } = await issue(" --allowed-ips 10.0.0.0/8 --allowed-methods /a");
    const call = "--client-ip 10.0.0.1 --method /a --environment live --tiers basic --cost 0";
    const good = await operator(`keys verify ${call}`, raw);
    expect(good.code).toBe(0);
    expect(good.stdout + good.stderr).not.toContain(raw);
    expect((await operator(`keys verify ${call} --quiet`, raw)).stdout).toBe(`${id}\n`);
    expect((await operator("keys verify --client-ip 192.0.2.1", raw)).stdout).toMatch(/^IP_NOT_ALLOWED\n/);
  });

  it("says how long to wait once a limit is used up", async () => {
    const { raw } = await issue(" --per-minute 1");
    await operator("keys verify", raw);
    const { code, stdout } = await operator("keys verify", raw);
    expect({ code, stdout }).toMatchObject({
      code: 1,
      stdout: expect.stringMatching(/^RATE_LIMITED\n.*try again in/s),
    });
  });

  it.each([
    ["nothing", "", /has no API key/],
    ["several lines", "a\nb\n", /several lines/],
    ["more than a key", "x".repeat(20_000), /over 16384 bytes/],
  ])("is wrong usage with %s on standard input", async (_, input, line) => {
    expect(await operator("keys verify", input)).toMatchObject({ code: 2, stderr: expect.stringMatching(line) });
  });
});

describe("latchkey keys", () => {
  it("lists a person's keys as a table with a head, as one JSON answer, as lines and as ids", async () => {
    const other = await world.service.newPerson();
    const made = [];
    for (const name of ["one", "two"]) made.push((await other.keys.issueKey({ name })).key!.id);
    const ids = made.reverse();
    const line = `keys list --owner ${other.user.id}`;
    const table = (await operator(line)).stdout.split("\n");
    expect(table[0]).toMatch(/^ID +NAME +STATE +TIER +LAST USED +EXPIRES +OWNER +CREATED +SCOPES$/);
    expect(table.slice(1).map((row) => row.split(" ")[0])).toEqual([...ids, ""]);
    expect((await operator(`${line} --json`)).json()).toMatchObject({
      ...{ keys: ids.map((id) => ({ id })), totalSize: 2, nextPageToken: "" },
    });
    const lines = (await operator(`${line} --jsonl`)).stdout.trimEnd().split("\n");
    expect(lines.map((one) => JSON.parse(one).id)).toEqual(ids);
    expect((await operator(`${line} --quiet`)).stdout).toBe(ids.map((id) => `${id}\n`).join(""));
    expect((await operator(`${line} --quiet --limit 1`)).stdout).toBe(`${ids[0]}\n`);
  });

  it("change only the fields that have a flag, and clear those with an empty one", async () => {
    const { id } = await issue(" --description d --scopes a --expires 30d --per-minute 5");
    const change = `keys update ${id} --name new --scopes  --never-expires --tier-limits --json`;
    const { key } = (await operator(change)).json();
    expect(key).toMatchObject({ name: "new", description: "d", scopes: [] });
    expect([key.expireTime, key.limits]).toEqual([undefined, undefined]);
    const tightened = (await operator(`keys update ${id} --expires 1d --per-day 7 --etag ${key.etag} --json`)).json();
    expect(tightened.key).toMatchObject({ name: "new", limits: { perDay: 7 }, expireTime: expect.any(String) });
    expect(await operator(`keys update ${id} --name other --etag ${key.etag}`)).toMatchObject({ code: 1 });
    expect(await operator(`keys update ${id}`)).toMatchObject({ code: 2, stderr: expect.stringContaining("--help") });
  });

  it("live through disable, enable, rotate, revoke and delete", async () => {
    const { id, raw } = await issue();
    const verdict = async (key = raw) => (await operator("keys verify --cost 0 --json", key)).json().verdict;
    expect((await operator(`keys disable ${id} --yes`)).stdout).toMatch(/state +disabled/);
    expect(await verdict()).toBe("VERDICT_DISABLED");
    expect((await operator(`keys enable ${id}`)).stdout).toMatch(/state +active/);
    const rotated = await operator(`keys rotate ${id} --overlap 0s --yes`);
    expect(rotated.stdout).toMatch(RAW);
    expect([await verdict(), await verdict(rotated.stdout.trim())]).toEqual(["VERDICT_EXPIRED", "VERDICT_VALID"]);
    expect((await operator(`keys rotate ${id} --overlap 1h`)).code).toBe(0);
    expect((await operator(`keys revoke ${id} --reason leaked --yes`)).stdout).toMatch(/state +revoked/);
    expect((await operator(`keys get ${id} --quiet`)).stdout).toBe(`${id}\n`);
    expect((await operator(`keys list --owner ${person.user.id} --all --quiet`)).stdout).toContain(id);
    expect((await operator(`keys list --owner ${person.user.id} --quiet`)).stdout).not.toContain(id);
    expect((await operator(`keys delete ${id} --yes`)).stdout).toBe(`deleted ${id}\n`);
    expect((await operator(`keys get ${id}`)).code).toBe(5);
  });

  it.each([`disable ${NO_KEY}`, `rotate ${NO_KEY} --overlap 0s`, `revoke ${NO_KEY}`, `delete ${NO_KEY}`])(
    "%s wants --yes where there is no terminal to ask on",
    async (line) => {
      expect(await operator(`keys ${line}`)).toMatchObject({ code: 2, stderr: expect.stringContaining("--yes") });
      expect(await operator(`keys ${line} --yes`)).toMatchObject({
        code: 5,
        stderr: expect.stringContaining("no such key"),
      });
    },
  );
});

describe("latchkey limits", () => {
  it("check counts, reads with cost 0, and ends with 1 for a call that does not fit", async () => {
    const { id } = await issue(" --per-minute 2");
    const check = async (flags = "") => {
      const { code, stdout } = await operator(`limits check ${id}${flags}`);
      return [code, /minute +2 +(\d)/.exec(stdout)?.[1], stdout.split("\n")[0]];
    };
    expect(await check(" --cost 0")).toEqual([0, "2", "ALLOWED"]);
    expect(await check(" --cost 2")).toEqual([0, "0", "ALLOWED"]);
    expect(await check()).toEqual([1, "0", "LIMITED"]);
    expect(await operator(`limits reset ${id}`)).toMatchObject({ code: 0, stdout: expect.stringContaining(id) });
    expect(await check()).toEqual([0, "1", "ALLOWED"]);
  });

  it("check takes any other subject with a named limit, and says where waiting never helps", async () => {
    const line = "limits check --name 203.0.113.7 --limit logins";
    const { rateLimits } = (await operator(`${line} --per-minute 9 --per-day 90 --json`)).json();
    expect(rateLimits).toMatchObject([{ name: "logins", remaining: 8 }, { remaining: 89 }]);
    expect(await operator(`${line} --per-minute 0`)).toMatchObject({
      code: 1,
      stdout: expect.stringMatching(/never helps/),
    });
  });

  it.each(["", `${NO_KEY} --name x`, "--name x --limit a", "--name x --per-day 5"])(
    "check %s is wrong usage",
    async (flags) => expect((await operator(`limits check ${flags}`.trim())).code).toBe(2),
  );
});

describe("latchkey status", () => {
  it("shows health, freshness and limits to a caller with a credential, and health to others", async () => {
    const { code, stdout } = await operator("status");
    expect(stdout).toMatch(/^service +latchkey \d+\.\d+\.\d+, started /m);
    expect(code).toBe(0);
    expect(stdout).toMatch(
      /reachable +yes.*health +serving.*freshness +changes are known up to .* ago.*limits +counts/s,
    );
    expect((await operator("status --json")).json()).toMatchObject({
      ...{ address: world.env.LATCHKEY_ADDRESS, reachable: true, health: "SERVING", limits: "OK" },
      freshnessAgeMs: expect.any(Number),
    });
    const manager = await world.service.newCredential("manage");
    const denied = await world.operator(["status"], { env: { LATCHKEY_CREDENTIAL: manager } });
    expect(denied).toMatchObject({ code: 0, stdout: expect.stringMatching(/serving.*unknown: .*scope verify/s) });
    const refused = await world.operator(["status"], { env: { LATCHKEY_CREDENTIAL: "kit_svc_wrong" } });
    expect(refused).toMatchObject({ code: 4, stdout: expect.stringMatching(/serving.*refused the credential/s) });
    const anonymous = await command(["status"], { env: { LATCHKEY_ADDRESS: world.env.LATCHKEY_ADDRESS } });
    expect(anonymous).toMatchObject({ code: 0, stdout: expect.not.stringContaining("freshness") });
  });
});

describe("the exit code", () => {
  it("is 4 without a credential, for a wrong one, and for one that may not do this; the line says which", async () => {
    const verifier = await world.service.newCredential("verify");
    const cases = [
      [undefined, /no credential; set LATCHKEY_CREDENTIAL/],
      ["kit_svc_wrong", /refused the credential from LATCHKEY_CREDENTIAL/],
      [verifier, /scope manage.*from LATCHKEY_CREDENTIAL/],
    ] as const;
    for (const [credential, line] of cases) {
      const { code, stdout, stderr } = await world.operator(["keys", "list"], {
        env: { LATCHKEY_CREDENTIAL: credential },
      });
      expect([code, stdout]).toEqual([4, ""]);
      expect(stderr).toMatch(line);
      expect(stderr.match(/\n/g)).toHaveLength(1);
    }
  });

  it("is 2 for what the service calls INVALID_ARGUMENT, with the field and without the value", async () => {
    const { code, stderr } = await operator(`keys issue --owner ${person.user.id} --name ${"n".repeat(65)}`);
    expect(code).toBe(2);
    expect(stderr).toBe("latchkey: name: must have at most 64 characters\n");
    const late = await operator(`keys issue --owner ${person.user.id} --name k --expires 2020-01-01`);
    expect(late).toMatchObject({ code: 2, stderr: expect.stringMatching(/^latchkey: --expires: must be/) });
  });

  it("is 5 for what is not found, and 1 for what is in no state for the change", async () => {
    expect(await operator(`keys get ${NO_KEY}`)).toMatchObject({
      code: 5,
      stderr: expect.not.stringContaining(NO_KEY),
    });
    const { id } = await issue();
    await operator(`keys revoke ${id} --yes`);
    expect((await operator(`keys enable ${id}`)).code).toBe(1);
  });

  it("is 130 at SIGINT while it waits for standard input", async () => {
    const interrupted = new AbortController();
    const stdin = Object.assign(new PassThrough(), { isTTY: false });
    const outcome = world.operator(["keys", "verify"], { signal: interrupted.signal, streams: { stdin } });
    stdin.write("the beginning of a key");
    setImmediate(() => interrupted.abort());
    expect(await outcome).toMatchObject({ code: 130, stdout: "", stderr: "latchkey: interrupted\n" });
  });

  it("is 130 once SIGINT has come, without another word than that", async () => {
    const signal = AbortSignal.abort();
    expect(await world.operator(["keys", "list"], { signal })).toMatchObject({
      ...{ code: 130, stdout: "", stderr: "latchkey: interrupted\n" },
    });
  });
});
