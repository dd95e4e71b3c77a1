import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openRateLimitFile } from "../../src/envoy/rate-limit-file.ts";
import { recordingLog } from "../support/recording-log.ts";

const rules = (...keys: string[]) =>
  JSON.stringify({
    domains: [
      {
        domain: "d",
        limits: keys.map((key) => ({ descriptor: [{ key }], limits: [{ unit: "DAY", requests_per_unit: 1 }] })),
      },
    ],
  });

describe("the file of rate limits", () => {
  let folder: string;
  let file: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "latchkey-limits-"));
    file = join(folder, "limits.json");
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  it("may be missing from the configuration, and then gives no limits", async () => {
    const log = recordingLog();
    const limits = await openRateLimitFile({ file: undefined, log });
    await limits.readAgain();
    expect([limits.rules.size, log.lines]).toEqual([0, []]);
  });

  it.each([
    ["is missing", () => join(folder, "none"), "can't be read (ENOENT)"],
    ["is a folder", () => folder, "can't be read (it is no file)"],
    ["has a fault", () => file, "domains: must be a list"],
  ])("that %s stops the start, which names the setting and the file", async (_, path, fault) => {
    await writeFile(file, '{"domains": 1}');
    const opening = openRateLimitFile({ file: path(), log: recordingLog() });
    await expect(opening).rejects.toThrow(`LATCHKEY_RATE_LIMITS_FILE: ${path()}`);
    await expect(opening).rejects.toThrow(fault);
  });

  it("of more than a mebibyte is not read", async () => {
    await writeFile(file, " ".repeat(1024 * 1024 + 1));
    await expect(openRateLimitFile({ file, log: recordingLog() })).rejects.toThrow("it has more than 1048576 bytes");
  });

  it("is read again when told to, and one with a fault keeps the limits before it and is logged", async () => {
    const log = recordingLog();
    await writeFile(file, rules("a"));
    const limits = await openRateLimitFile({ file, log });
    await writeFile(file, rules("a", "b"));
    await limits.readAgain();
    expect(limits.rules.size).toBe(2);
    await writeFile(file, rules());
    await limits.readAgain();
    expect(limits.rules.size).toBe(2);
    await rm(file);
    await limits.readAgain();
    expect(limits.rules.size).toBe(2);
    const warnings = log.lines.filter(({ level }) => level === "warn");
    expect(warnings.map(({ fields }) => fields?.reason)).toEqual([
      expect.stringContaining("domains[0].limits: must be a list"),
      expect.stringContaining("can't be read (ENOENT)"),
    ]);
    await writeFile(file, rules("a", "b", "c"));
    await limits.readAgain();
    expect(limits.rules.size).toBe(3);
  });
});
