import { execFileSync } from "node:child_process";
import { appendFileSync, mkdtempSync, readFileSync, renameSync, rmSync, statSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { AuditEvent } from "../../src/audit/audit-event.ts";
import { LineFile } from "../../src/destinations/line-file.ts";
import { newId } from "../../src/lib/id.ts";

describe("a file of audit events", () => {
  let folder: string;
  let path: string;
  let file: LineFile;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "latchkey-lines-"));
    path = join(folder, "audit.jsonl");
    file = new LineFile(path);
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  const event = (): AuditEvent => ({
    ...{ id: newId("evt"), kind: "key.revoked", actorId: "svc_1", subjectId: newId("key"), clientIp: "192.0.2.1" },
    ...{ happenedAtMs: 0, details: { text: "two\nlines\u2028" } },
  });
  const ids = (text = readFileSync(path, "utf8")) =>
    text
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line).data.id);

  it("is made for its user alone, and gets a line for each event", async () => {
    const events = [event(), event(), event()];
    const delivery = await file.deliver(events.slice(0, 2));
    expect([...delivery.delivered]).toEqual(events.slice(0, 2).map(({ id }) => id));
    await file.deliver(events.slice(2));
    expect(ids()).toEqual(events.map(({ id }) => id));
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(JSON.parse(readFileSync(path, "utf8").split("\n")[0]!)).toEqual({
      type: "key.revoked",
      timestamp: "1970-01-01T00:00:00.000Z",
      data: {
        ...{ id: events[0]!.id, actor_id: "svc_1", subject_id: events[0]!.subjectId, client_ip: "192.0.2.1" },
        details: { text: "two\nlines\u2028" },
      },
    });
  });

  it("is begun again after it was renamed", async () => {
    const [before, after] = [event(), event()];
    await file.deliver([before]);
    renameSync(path, `${path}.1`);
    await file.deliver([after]);
    expect([ids(readFileSync(`${path}.1`, "utf8")), ids()]).toEqual([[before.id], [after.id]]);
  });

  it("keeps a whole line for an event after a torn one", async () => {
    const [before, after] = [event(), event()];
    await file.deliver([before]);
    appendFileSync(path, '{"type":"key.iss');
    await file.deliver([after]);
    const lines = readFileSync(path, "utf8").split("\n");
    expect(lines[1]).toBe('{"type":"key.iss');
    expect(JSON.parse(lines[2]!).data.id).toBe(after.id);
  });

  it("fails while a write hangs, begins no second one, and goes on when it ends", async () => {
    let end = () => {};
    let begun = 0;
    const write = () => {
      begun++;
      return new Promise<void>((resolve) => {
        end = resolve;
      });
    };
    const hanging = new LineFile(path, { write, mostMs: 10 });
    const [first, second] = [await hanging.deliver([event()]), await hanging.deliver([event()])];
    expect([...first.failed.values(), ...second.failed.values()]).toEqual(["the write hangs", "the write hangs"]);
    expect([first.delivered.size, second.delivered.size, begun]).toEqual([0, 0, 1]);
    end();
    await new Promise(setImmediate);
    const third = hanging.deliver([event()]);
    end();
    expect([(await third).delivered.size, begun]).toEqual([1, 2]);
  });

  it.each<[what: string, make: () => void, reason: string]>([
    ["a folder is missing", () => rmSync(folder, { recursive: true }), "ENOENT"],
    ["a symbolic link is in its place", () => symlinkSync(join(folder, "other"), path), "ELOOP"],
    ["a folder is in its place", () => execFileSync("mkdir", [path]), "EISDIR"],
    ["a pipe is in its place", () => execFileSync("mkfifo", [path]), "ENOTFILE"],
  ])("takes no event if %s", async (_what, make, reason) => {
    make();
    const { delivered, failed } = await file.deliver([event(), event()]);
    expect([delivered.size, [...failed.values()]]).toEqual([0, [reason]]);
    execFileSync("mkdir", ["-p", folder]);
  });
});
