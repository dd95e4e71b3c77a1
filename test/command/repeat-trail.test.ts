/** `latchkey audit repeat`: which changes of a lost database it finds, and what it makes of its files. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { lostChanges } from "../../cli/src/trail/lost-changes.ts";
import { type BadLine, readTrail, type TrailEvent } from "../../cli/src/trail/trail-file.ts";
import { AUDIT_KINDS, type AuditKind } from "../../src/audit/audit-event.ts";
import { newId } from "../../src/lib/id.ts";
import { type CommandWorld, startCommandWorld } from "./command.ts";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "latchkey-trail-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

let now = Date.UTC(2026, 0, 1);
/** Each is a second later than the one before. */
function event(kind: string, subjectId: string, more: Partial<TrailEvent> = {}): TrailEvent {
  now += 1000;
  return { id: newId("evt"), kind, timeMs: now, actorId: "", subjectId, details: {}, ...more };
}
const lineOf = ({ id, kind, timeMs, actorId, subjectId, details }: TrailEvent) =>
  JSON.stringify({
    ...{ type: kind, timestamp: new Date(timeMs).toISOString() },
    data: { id, actor_id: actorId, subject_id: subjectId, client_ip: "", details },
  });
function fileOf(...lines: readonly string[]): string {
  const path = join(folder, `${newId("evt")}.jsonl`);
  writeFileSync(path, lines.join("\n"));
  return path;
}
const found = (trail: readonly TrailEvent[], present: readonly TrailEvent[] = []) =>
  lostChanges(trail, present).map(({ subjectId, todo }) => [subjectId, todo]);

const ATTEMPT = "it counts refused attempts, and changed nothing";
/** Why a restored database lacks nothing that matters without these changes. In the order of the contract. */
const HARMLESS: Partial<Record<AuditKind, string>> = {
  "key.limits_reset": "the counts are in Redis, and a restore keeps them",
  "user.login_failures_cleared": "without it, logins are throttled longer",
  "session.begun": "its refresh token is unknown now, and the person logs in again",
  "signing_key.created": "its tokens are refused now, and people refresh",
  "login.failed": ATTEMPT,
  "login.throttled": ATTEMPT,
  "login.refused": ATTEMPT,
  "reset_token.refused": ATTEMPT,
  "session.refused": ATTEMPT,
  "credential.refused": ATTEMPT,
  "access.refused": ATTEMPT,
};

describe("the changes of a lost trail", () => {
  it.each<[kind: string, subject: string, todo: readonly string[]]>([
    ["key.revoked", "key_1", ["revoke key"]],
    ["key.deleted", "key_1", ["delete key"]],
    ["key.disabled", "key_1", ["disable key"]],
    ["key.enabled", "key_1", ["decide"]],
    ["key.rotated", "key_1", ["decide"]],
    ["key.issued", "key_1", ["issued"]],
    ["credential.issued", "svc_1", ["issued"]],
    ["credential.rotated", "svc_1", ["decide"]],
    ["credential.revoked", "svc_1", ["revoke credential"]],
    ["user.registered", "usr_1", ["issued"]],
    ["user.disabled", "usr_1", ["disable person", "end sessions"]],
    ["user.password_changed", "usr_1", ["end sessions", "decide"]],
    ["user.password_reset", "usr_1", ["end sessions", "decide"]],
    ["session.ended", "usr_1", ["end sessions"]],
    ["signing_key.revoked", "thumbprint", ["revoke signing key"]],
    ["signing_key.created", "thumbprint", []],
    ["session.begun", "ses_1", []],
    ["login.failed", "usr_1", []],
    ["a.kind_of_later", "usr_1", []],
    ["constructor", "usr_1", []],
  ])("%s of %s: %s", (kind, subject, todo) => {
    expect(found([event(kind, subject)])).toEqual(todo.map((each) => [subject, each]));
  });

  it("are those of the trail that the restored database lacks", () => {
    const [kept, lost] = [event("key.revoked", "key_1"), event("key.revoked", "key_2")];
    expect(found([kept, lost], [kept])).toEqual([["key_2", "revoke key"]]);
  });

  it("follow the last event of a subject, whatever the order of the file", () => {
    const [off, on, offAgain] = ["disabled", "enabled", "disabled"].map((what) => event(`key.${what}`, "key_1"));
    expect(found([on!, off!])).toEqual([["key_1", "decide"]]);
    expect(found([on!, offAgain!, off!])).toEqual([["key_1", "disable key"]]);
  });

  it("leave alone what was decided after the restore", () => {
    const lost = event("key.disabled", "key_1");
    expect(found([lost], [event("key.enabled", "key_1")])).toEqual([]);
    expect(found([event("key.rotated", "key_1")], [event("key.rotated", "key_1")])).toEqual([]);
  });

  it("are only the end of a key that ended, and nothing for one that was issued and ended since", () => {
    const life = ["rotated", "disabled", "revoked"].map((what) => event(`key.${what}`, "key_1"));
    expect(found(life)).toEqual([["key_1", "revoke key"]]);
    expect(found([event("key.issued", "key_2"), event("key.disabled", "key_2")])).toEqual([["key_2", "issued"]]);
    expect(found([event("key.issued", "key_3"), event("key.revoked", "key_3")])).toEqual([]);
  });

  it("end the sessions of the person whose session ended, except if the person only had too many", () => {
    const ended = event("session.ended", "ses_1", { actorId: "usr_1", details: { reason: "logout" } });
    const reused = event("session.token_reused", "ses_2", { details: { user_id: "usr_2" } });
    const crowded = event("session.ended", "ses_3", { actorId: "usr_3", details: { reason: "too_many_sessions" } });
    expect(found([ended, reused, crowded])).toEqual([
      ["usr_1", "end sessions"],
      ["usr_2", "end sessions"],
    ]);
  });

  it("show each field that authorizes with its values, and no other field", () => {
    const details = { fields: "name,scopes", scopes_before: "a b", scopes_after: "a" };
    const changes = lostChanges([event("key.updated", "key_1", { details })], []);
    expect(changes.map(({ todo, note }) => [todo, note])).toEqual([
      ["decide", 'scopes had been changed from "a b" to "a"'],
    ]);
    expect(found([event("user.updated", "usr_1", { details: { fields: "display_name" } })])).toEqual([]);
  });

  it("leave the end of all sessions, if only one session of the person ended after the restore", () => {
    const lost = event("session.ended", "usr_1", { actorId: "svc_1", details: { reason: "ended_by_operator" } });
    const logout = event("session.ended", "ses_1", { actorId: "usr_1", details: { reason: "logout" } });
    const reused = event("session.token_reused", "ses_2", { details: { user_id: "usr_1" } });
    expect(found([lost], [logout, reused])).toEqual([["usr_1", "end sessions"]]);
    // The control: the end of all of them after the restore counts.
    expect(found([lost], [logout, event("session.ended", "usr_1")])).toEqual([]);
  });

  it("name a credential whose certificate names changed, also if none is left", () => {
    const removed = { fields: "name,certificate_names", certificate_names_before: "orders.internal" };
    const changes = lostChanges([event("credential.updated", "svc_1", { details: removed })], []);
    expect(changes.map(({ subjectId, todo, note }) => [subjectId, todo, note])).toEqual([
      ["svc_1", "decide", 'certificate_names had been changed from "orders.internal" to ""'],
    ]);
    expect(found([event("credential.updated", "svc_1", { details: { fields: "name" } })])).toEqual([]);
  });

  it("end the access that an operator ended with a reset token, and ignore a token alone", () => {
    const details = { ended_sessions: "2" };
    expect(found([event("user.reset_token_created", "usr_1", { details })])).toEqual([
      ["usr_1", "end sessions"],
      ["usr_1", "decide"],
    ]);
    expect(found([event("user.reset_token_created", "usr_1")])).toEqual([]);
  });

  it("are known for each kind of the contract, except for kinds whose loss lets no one in", () => {
    const scopes = { scopes_before: "a b", scopes_after: "a" };
    const details = { fields: "scopes,certificate_names", ...scopes, user_id: "usr_1", ended_sessions: "0" };
    const isKnown = (kind: string) => found([event(kind, "usr_1", { details })]).length > 0;
    expect(AUDIT_KINDS.filter((kind) => !isKnown(kind))).toEqual(Object.keys(HARMLESS));
  });

  it("have credentials last, because one of them may be that of the caller", () => {
    const trail = [event("credential.revoked", "svc_1"), event("key.revoked", "key_1")];
    expect(found(trail)).toEqual([
      ["key_1", "revoke key"],
      ["svc_1", "revoke credential"],
    ]);
  });
});

describe("a file of the trail", () => {
  it("gives its events, without lines of the log, and tells of each other line by number", async () => {
    const good = event("key.revoked", newId("key"), { details: { reason: "leaked" } });
    const log = JSON.stringify({ level: 30, time: "2026-01-01T00:00:00Z", msg: "latchkey is ready" });
    const wrong = (change: object) => JSON.stringify({ ...JSON.parse(lineOf(good)), ...change });
    const file = fileOf(
      ...[log, "", lineOf(good), '{"type":"key.iss', "[]", "null", "x".repeat(70_000), wrong({ type: 7 })],
      ...[wrong({ timestamp: "soon" }), wrong({ data: null }), wrong({ data: { id: good.id, subject_id: "a b" } })],
      wrong({ data: { id: good.id, subject_id: "", actor_id: "", details: { n: 1 } } }),
      lineOf(good),
    );
    const read: (TrailEvent | BadLine)[] = [];
    for await (const each of readTrail(file)) read.push(each);
    expect(read.filter((each) => "kind" in each)).toEqual([good, good]);
    const bad = read.flatMap((each) => ("why" in each ? [[each.line, each.why]] : []));
    expect(bad).toEqual([
      ...[4, 5, 6].map((line) => [line, "it is not a JSON object"]),
      [7, "it is longer than 64 KiB"],
      [8, "its `type` is no kind of event"],
      [9, "its `timestamp` is no time"],
      [10, "its `data.id` is no id of an event"],
      [11, "its `data` has no subject or no actor"],
      [12, "its `data.details` are no texts"],
    ]);
  });
});

describe("latchkey audit repeat", () => {
  let world: CommandWorld;
  let key: string;
  beforeAll(async () => {
    world = await startCommandWorld();
    const person = await world.service.newPerson();
    const issued = await world.operator(["keys", "issue", "--owner", person.user.id, "--name", "a key", "--json"]);
    key = issued.json().key.id;
    // A minute ago: all lost events are older than what the test does.
    now = Date.now() - 60_000;
  });
  afterAll(() => world?.[Symbol.asyncDispose]());

  const repeat = (file: string, ...more: readonly string[]) =>
    world.operator(["audit", "repeat", "--trail", file, "--since", "1h", ...more]);

  it("lists what is lost without --apply, repeats it with --apply, and then has nothing to do", async () => {
    const [unknown, issued] = [newId("key"), newId("key")];
    const trail = [event("key.revoked", key), event("key.disabled", unknown), event("key.issued", issued)];
    const file = fileOf(...trail.map(lineOf));
    const outcomes = async (...more: string[]) => {
      const { code, json } = await repeat(file, "--json", ...more);
      return [code, ...json().changes.map(({ subjectId, outcome }: Record<string, string>) => [subjectId, outcome])];
    };
    const others = [
      [unknown, "unknown here"],
      [issued, "lost"],
    ];
    expect(await outcomes()).toEqual([1, [key, "open"], ...others]);
    expect((await world.operator(["keys", "get", key, "--json"])).json().key.state).toBe("STATE_ACTIVE");
    expect(await outcomes("--apply", "--yes")).toEqual([0, [key, "done"], ...others]);
    expect((await world.operator(["keys", "get", key, "--json"])).json().key.state).toBe("STATE_REVOKED");
    // By now the restored database has an event of its own about the key.
    expect(await outcomes("--apply", "--yes")).toEqual([0, ...others]);
  });

  it("goes on after a change that the service refuses, and names the service's reason", async () => {
    // The only admin credential is that of this command.
    const { credentials } = (await world.operator(["services", "list", "--json"])).json();
    const { id: own } = credentials[0];
    const unknown = newId("svc");
    const file = fileOf(...[own, unknown].map((id) => lineOf(event("credential.revoked", id))));
    const { code, json } = await repeat(file, "--apply", "--yes", "--json");
    const outcomes = json().changes.map(({ subjectId, outcome }: Record<string, string>) => [subjectId, outcome]);
    const expected = [
      [own, "refused: LAST_ADMIN_CREDENTIAL"],
      [unknown, "unknown here"],
    ];
    expect([code, ...outcomes]).toEqual([1, ...expected]);
    const { code: again, stdout } = await repeat(file, "--apply", "--yes");
    expect([again, stdout]).toEqual([1, expect.stringContaining("2 lost changes, 1 left to do")]);
  });

  it("looks at a minute before --since too, and at nothing older", async () => {
    const old = (seconds: number) =>
      event("key.issued", newId("key"), { timeMs: Date.now() - 3_600_000 - seconds * 1000 });
    const [within, before] = [old(50), old(70)];
    const { json } = await repeat(fileOf(lineOf(within), lineOf(before)), "--json");
    expect(json().changes.map(({ subjectId }: Record<string, string>) => subjectId)).toEqual([within.subjectId]);
  });

  it("shows people a table, and ends with 1 while a line is no event", async () => {
    const { code, stdout } = await repeat(fileOf(lineOf(event("key.issued", newId("key"))), "torn"));
    expect(code).toBe(1);
    expect(stdout).toMatch(/^1 events, 1 lost changes, 0 left to do; 1 lines are no events\n/);
    expect(stdout).toMatch(/key\.issued .* issued +lost +it is unknown now; issue another one/);
    expect(stdout).toMatch(/ 2 +it is not a JSON object/);
  });

  it("asks before it applies, and needs a file that it can read and the time of the backup", async () => {
    const file = fileOf();
    expect(await repeat(file, "--apply")).toMatchObject({ code: 2, stdout: "" });
    expect(await world.operator(["audit", "repeat", "--trail", file])).toMatchObject({ code: 2, stdout: "" });
    const missing = await repeat(join(folder, "missing"));
    expect(missing).toMatchObject({ code: 2, stdout: "" });
    expect(missing.stderr).toBe("latchkey: file 1 of --trail can't be read (ENOENT)\n");
  });

  it("ends with 4 without the scope admin", async () => {
    const env = { LATCHKEY_CREDENTIAL: await world.service.newCredential("manage") };
    const args = ["audit", "repeat", "--trail", fileOf(), "--since", "1h"];
    expect(await world.operator(args, { env })).toMatchObject({ code: 4, stdout: "" });
  });
});
