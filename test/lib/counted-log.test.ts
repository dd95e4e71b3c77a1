import { expect, it } from "vitest";
import { CountedLog } from "../../src/lib/counted-log.ts";
import { recordingLog } from "../support/recording-log.ts";

it("a counted log counts warnings and errors by message, and passes every line on", () => {
  const inner = recordingLog();
  const log = new CountedLog({ ...inner, droppedLines: () => 3 });
  const cause = new Error("a cause");
  log.info("stopped");
  log.warn("Redis is unreachable", { cause: "ECONNREFUSED" });
  log.warn("Redis is unreachable");
  log.error("metrics failed", {}, cause);
  expect([...log.lines()]).toEqual([
    { level: "error", message: "metrics failed", count: 1 },
    { level: "warn", message: "Redis is unreachable", count: 2 },
  ]);
  expect(log.errors("metrics failed")).toBe(1);
  expect(log.droppedLines()).toBe(3);
  expect(inner.lines).toMatchObject([
    { level: "info", message: "stopped" },
    { level: "warn", message: "Redis is unreachable", fields: { cause: "ECONNREFUSED" } },
    { level: "warn", message: "Redis is unreachable", fields: {} },
    { level: "error", message: "metrics failed", cause },
  ]);
});
