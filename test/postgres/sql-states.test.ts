import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { LOCK_TIMEOUT, toDomainError } from "../../src/postgres/errors/driver-errors.ts";
import { SqlStateAlarm } from "../../src/postgres/errors/sql-state-alarm.ts";
import { SQL_STATES } from "../../src/postgres/errors/sql-states.ts";
import { recordingLog } from "../support/recording-log.ts";

const failure = (code: string) => Object.assign(new Error("what a driver says"), { code });

describe("every code that concerns the database", () => {
  it("has a row in OPERATIONS.md, and no other code has one", () => {
    const text = readFileSync(join(import.meta.dirname, "../../docs/OPERATIONS.md"), "utf8");
    const rows = text.split("\n").flatMap((line) => /^\| `([0-9A-Z]{5})` /.exec(line)?.[1] ?? []);
    expect(rows).toEqual(Object.keys(SQL_STATES).sort());
    for (const [code, { name, meaning, todo }] of Object.entries(SQL_STATES)) {
      expect(text).toContain(`| \`${code}\` ${name} | ${meaning} | ${todo} |`);
    }
  });

  // Only a migration meets 42P07, and it has no caller.
  it.each(Object.keys(SQL_STATES).filter((code) => code !== "42P07"))(
    "is not the fault of the call that met it: %s",
    (code) => {
      expect(toDomainError(failure(code))).toMatchObject({
        reason: code === LOCK_TIMEOUT ? "CONTENTION" : "DATABASE_UNAVAILABLE",
      });
    },
  );
});

describe("the alarm about errors of PostgreSQL", () => {
  it("logs each code immediately, then at most once a minute, with the number of errors between", () => {
    let nowMs = 0;
    const [log, clock] = [recordingLog(), { nowMs: () => nowMs, monotonicMs: () => nowMs }];
    const alarm = new SqlStateAlarm(log, clock);
    for (let n = 0; n < 1000; n++) alarm.met(failure("42501"));
    alarm.met(failure("53100"));
    expect(log.lines.map(({ level, fields: { meaning, todo, ...facts } }) => [level, facts])).toEqual([
      ["error", { code: "42501", name: "insufficient_privilege", untold_before: 0 }],
      ["error", { code: "53100", name: "disk_full", untold_before: 0 }],
    ]);
    const told = {
      meaning: expect.stringMatching(/^the role lacks a privilege/),
      todo: expect.stringMatching(/^make the role/),
    };
    expect(log.lines[0]!.fields).toMatchObject(told);
    nowMs = 59_999;
    alarm.met(failure("42501"));
    expect(log.lines).toHaveLength(2);
    nowMs = 60_000;
    alarm.met(failure("42501"));
    expect(log.lines.at(-1)!.fields).toMatchObject({ code: "42501", untold_before: 1000 });
  });

  it("does not log an outage, a conflict, or an unknown code", () => {
    const log = recordingLog();
    const alarm = new SqlStateAlarm(log);
    for (const code of ["57P01", "57014", "40001", "23505", "ECONNREFUSED"]) alarm.met(failure(code));
    alarm.met(new Error("without a code"));
    expect(log.lines).toEqual([]);
  });
});
