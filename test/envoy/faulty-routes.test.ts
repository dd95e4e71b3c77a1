import { expect, it } from "vitest";
import { FaultyRoutes } from "../../src/envoy/faulty-routes.ts";
import { recordingLog } from "../support/recording-log.ts";

it("tells each fault once in 10 minutes, and at most 8 of them", () => {
  let nowMs = 0;
  const log = recordingLog();
  const routes = new FaultyRoutes({ clock: { monotonicMs: () => nowMs }, log });
  for (let round = 0; round < 3; round++) {
    for (let at = 0; at < 20; at++) routes.note([`latchkey.${at}: is no setting`, "another"]);
  }
  expect(log.lines.map(({ fields }) => fields.fault)).toEqual(
    Array.from({ length: 8 }, (_, at) => `latchkey.${at}: is no setting`),
  );
  expect(log.lines[0]?.fields.others).toBe(1);
  nowMs = 599_999;
  routes.note(["latchkey.0: is no setting"]);
  expect(log.lines).toHaveLength(8);
  nowMs = 600_000;
  routes.note(["latchkey.0: is no setting"]);
  expect(log.lines).toHaveLength(9);
});
