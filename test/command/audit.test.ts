/** `latchkey audit` and `latchkey watch`, against a running service. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Person } from "../support/in-process-service.ts";
import { type CommandWorld, type Outcome, Recorded, startCommandWorld } from "./command.ts";

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
function running(args: readonly string[]): { stdout: Recorded; stderr: Recorded; interrupt(): Promise<Outcome> } {
  const interruption = new AbortController();
  const [stdout, stderr] = [new Recorded(undefined), new Recorded(undefined)];
  const outcome = world.operator(args, { signal: interruption.signal, streams: { stdout, stderr } });
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
