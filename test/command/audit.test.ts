/** `latchkey audit` and `latchkey watch`, against a running service. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startFaultProxy } from "../support/fault-proxy.ts";
import type { Person } from "../support/in-process-service.ts";
import { type CommandOptions, type CommandWorld, type Outcome, Recorded, startCommandWorld } from "./command.ts";

let world: CommandWorld;
let person: Person;
beforeAll(async () => {
  world = await startCommandWorld();
  person = await world.service.newPerson();
});
afterAll(() => world[Symbol.asyncDispose]());

async function issueKey(): Promise<string> {
  const args = ["keys", "issue", "--owner", person.user.id, "--name", "a key", "--json"];
  return (await world.operator(args)).json().key.id;
}

/** A command line that runs until it is interrupted. */
function running(
  args: readonly string[],
  { env = {}, columns }: Pick<CommandOptions, "env" | "columns"> = {},
): { stdout: Recorded; stderr: Recorded; interrupt(): Promise<Outcome> } {
  const interruption = new AbortController();
  const [stdout, stderr] = [new Recorded(columns), new Recorded(columns)];
  const outcome = world.operator(args, { env, signal: interruption.signal, streams: { stdout, stderr } });
  const interrupt = () => {
    interruption.abort();
    return outcome;
  };
  return { stdout, stderr, interrupt };
}

describe("latchkey audit list", () => {
  it("shows who did what to which subject, newest first", async () => {
    const id = await issueKey();
    await world.operator(["keys", "revoke", id, "--yes", "--reason", "leaked"]);
    const { code, stdout } = await world.operator(["audit", "list", "--subject", id]);
    expect(code).toBe(0);
    expect(stdout).toMatch(
      new RegExp(
        `^TIME +WHAT +SUBJECT +ACTOR +FROM +DETAILS\\n[^\\n]+ key\\.revoked +${id} +svc_\\w{16} +127\\.0\\.0\\.1 .*reason=leaked.*\\n` +
          `[^\\n]+ key\\.issued +${id} [^\\n]*\\n$`,
      ),
    );
    const { events } = (await world.operator(["audit", "list", "--subject", id, "--json"])).json();
    const actor = ["audit", "list", "--actor", events[0].actorId, "--limit", "1", "--quiet"];
    expect((await world.operator(actor)).stdout).toBe(`${events[0].id}\n`);
  });

  it("keeps to --since and --until, and ends with 2 for a time that is none", async () => {
    expect((await world.operator(["audit", "list", "--until", "1h", "--quiet"])).stdout).toBe("");
    expect((await world.operator(["audit", "list", "--since", "1h", "--quiet"])).stdout).toMatch(/^evt_/);
    expect(await world.operator(["audit", "list", "--since", "yesterday"])).toMatchObject({ code: 2, stdout: "" });
  });

  it("ends with 4 without the scope admin", async () => {
    const env = { LATCHKEY_CREDENTIAL: await world.service.newCredential("manage") };
    expect(await world.operator(["audit", "list"], { env })).toMatchObject({ code: 4, stdout: "" });
    expect(await world.operator(["audit", "tail"], { env })).toMatchObject({ code: 4, stdout: "" });
  });
});

describe("latchkey audit tail", () => {
  it("shows earlier events oldest first, then each new one once, and ends with 130 at SIGINT", async () => {
    const earlier = await issueKey();
    const tail = running(["audit", "tail", "--jsonl"]);
    await expect.poll(() => tail.stdout.text).toContain(earlier);
    const later = await issueKey();
    await expect.poll(() => tail.stdout.text).toContain(later);
    await world.operator(["keys", "revoke", later, "--yes"]);
    await expect.poll(() => tail.stdout.text).toContain("key.revoked");
    expect((await tail.interrupt()).code).toBe(130);
    const events = tail.stdout.text
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(new Set(events.map(({ id }) => id)).size).toBe(events.length);
    expect(events.map(({ eventTime }) => eventTime)).toEqual(events.map(({ eventTime }) => eventTime).sort());
    expect(tail.stderr.text).toBe("latchkey: interrupted\n");
  });
});

describe("latchkey watch", () => {
  it("shows each change, and goes on after a broken stream without a gap", async () => {
    await using proxy = await startFaultProxy(Number(world.service.address.split(":")[1]));
    const env = { LATCHKEY_ADDRESS: `http://127.0.0.1:${proxy.port}`, NO_COLOR: "1" };
    const watch = running(["watch", "--jsonl"], { env });
    const ended = await issueKey();
    // The stream begins with the sessions that ended lately, so it is there once it has told of one.
    await world.operator(["users", "end-sessions", person.user.id, "--yes"]);
    await expect.poll(() => watch.stdout.text).toContain("KIND_SESSION");
    await proxy.cut();
    await expect.poll(() => watch.stderr.text).toContain("does not answer; trying again until ctrl-c\n");
    // The stream may have told of the key's issue before.
    const toldOfKey = () => watch.stdout.text.split(ended).length;
    const before = toldOfKey();
    await world.operator(["keys", "revoke", ended, "--yes"]);
    await proxy.restore();
    await expect.poll(toldOfKey).toBeGreaterThan(before);
    expect((await watch.interrupt()).code).toBe(130);
    expect(watch.stderr.text).toMatch(/^[^\n]+does not answer[^\n]+\n[^\n]+ answers again\nlatchkey: interrupted\n$/);
    const changes = watch.stdout.text
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(changes).toContainEqual(expect.objectContaining({ kind: "KIND_KEY", subjectId: ended }));
    expect(changes).not.toContainEqual({ resync: true });
  });

  it("is a line for each change on a terminal, and an id for --quiet", async () => {
    const [people, quiet] = [
      running(["watch"], { columns: 80, env: { NO_COLOR: "1" } }),
      running(["watch", "--quiet"]),
    ];
    // Both streams begin with the sessions that ended lately, so the key is the first change after that.
    await expect.poll(() => people.stdout.text.includes("session") && quiet.stdout.text.includes("ses_")).toBe(true);
    const id = await issueKey();
    await world.operator(["keys", "disable", id, "--yes"]);
    await expect
      .poll(() => people.stdout.text)
      .toMatch(new RegExp(`^\\d\\d:\\d\\d:\\d\\d {2}key changed {10}${id}$`, "m"));
    await expect.poll(() => quiet.stdout.text).toMatch(new RegExp(`^${id}$`, "m"));
    expect([(await people.interrupt()).code, (await quiet.interrupt()).code]).toEqual([130, 130]);
  });

  it("ends with 3 if the service never answered, and with 4 for a person", async () => {
    const nowhere = { env: { LATCHKEY_ADDRESS: "http://127.0.0.1:9" } };
    expect(await world.operator(["watch"], nowhere)).toMatchObject({ code: 3, stdout: "" });
    const env = { LATCHKEY_CREDENTIAL: person.tokens.accessToken };
    expect(await world.operator(["watch"], { env })).toMatchObject({ code: 4, stdout: "" });
  });
});
