import { describe, expect, it } from "vitest";
import { sourceTexts, unwrittenLines } from "../../scripts/logs-page.ts";
import type { Log } from "../../src/lib/log.ts";
import { LOG_LINES } from "../../src/lib/log-lines.ts";
import { recordingLog } from "../support/recording-log.ts";

describe("docs/LOGS.md", () => {
  it("explains only lines that a source writes", () => {
    expect(unwrittenLines(LOG_LINES, sourceTexts())).toEqual([]);
  });

  it("is refused with a line that no source writes (the control)", () => {
    const row = { means: "", todo: "" };
    expect(unwrittenLines({ warn: { "a line that nothing writes": row, stopped: row } }, sourceTexts())).toEqual([
      "a line that nothing writes",
    ]);
  });

  it("explains every line that a source writes, because another one does not compile", () => {
    const log: Log = recordingLog();
    // @ts-expect-error: no row of the level has this message.
    log.warn("stopped");
    log.info("stopped");
  });
});
