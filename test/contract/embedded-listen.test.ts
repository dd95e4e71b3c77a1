import { setImmediate as nextTurn } from "node:timers/promises";
import { PGlite } from "@electric-sql/pglite";
import { expect, it, vi } from "vitest";
import { Database } from "../../src/postgres/database.ts";
import { freshTarget } from "../support/database.ts";
import { recordingLog } from "../support/recording-log.ts";

it("an embedded database that can't signal changes logs that, and the process goes on", async () => {
  const { target, remove } = await freshTarget("embedded");
  const log = recordingLog();
  const database = await Database.open({ target, log });
  // A fault of the engine, which no input of this service can cause.
  const failing = vi.spyOn(PGlite.prototype, "listen").mockRejectedValue(new Error("the engine has aborted"));
  const unhandled: unknown[] = [];
  const note = (error: unknown) => void unhandled.push(error);
  process.on("unhandledRejection", note);
  const end = database.listen(() => {});
  await expect
    .poll(() => log.lines)
    .toMatchObject([{ level: "error", message: expect.stringContaining("sends no signals") }]);
  await nextTurn();
  end();
  await nextTurn();
  expect(failing, "the fault happened").toHaveBeenCalledOnce();
  process.off("unhandledRejection", note);
  expect(unhandled).toEqual([]);
  await database.close();
  await remove();
});
