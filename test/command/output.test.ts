/** How results look: tables as wide as the terminal, texts that can't write to it, pages, streams, progress. */
import { setImmediate as turn } from "node:timers/promises";
import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { type Key, Key_State, KeySchema, ListKeysResponseSchema } from "@latchkey/client/contract";
import { afterEach, describe, expect, it, vi } from "vitest";
import { ReaderGone } from "../../cli/src/faults.ts";
import { keyColumns } from "../../cli/src/key-view.ts";
import { writeResult } from "../../cli/src/output.ts";
import { Progress } from "../../cli/src/progress.ts";
import { type Item, listingOf, type Result } from "../../cli/src/result.ts";
import type { GlobalFlags } from "../../cli/src/settings.ts";
import type { Io } from "../../cli/src/terminal.ts";
import { printable, printableJson } from "../../cli/src/text.ts";
import { lengthText, readDuration, readTime, relative } from "../../cli/src/times.ts";
import { Recorded, recordedIo } from "./command.ts";

const NOW_MS = Date.parse("2026-11-29T12:00:00Z");
const HOUR_MS = 3_600_000;

/** Keys whose names are as long as they can be, and one that would colour the terminal. */
const KEYS = ["laptop", "n".repeat(64), "evil\u001b[31m\u202e", "名前"].map((name, n) =>
  create(KeySchema, {
    ...{
      id: `key_AbCd1234AbCd123${n}`,
      ownerId: "usr_AbCd1234AbCd1234",
      name,
      tier: "basic",
      state: [Key_State.ACTIVE, Key_State.DISABLED][n % 2]!,
    },
    ...{ scopes: ["orders:read"], createTime: timestampFromMs(NOW_MS - 36 * HOUR_MS) },
  }),
);

function listing(pages: readonly (typeof KEYS)[], limit?: number) {
  return listingOf({
    schema: ListKeysResponseSchema,
    field: "keys",
    page: async (token) => {
      const at = Number(token);
      const nextPageToken = at + 1 < pages.length ? String(at + 1) : "";
      return create(ListKeysResponseSchema, { keys: pages[at] ?? [], nextPageToken, totalSize: pages.flat().length });
    },
    ...{ limit, columns: keyColumns(NOW_MS), quiet: (key: Key) => key.id, none: "there are no such keys" },
  });
}

async function shown(result: Result, columns?: number, format: GlobalFlags["format"] = "people", env: Io["env"] = {}) {
  const [stdout, stderr] = [new Recorded(columns), new Recorded(columns)];
  const io = { ...recordedIo(env), stdout, stderr };
  using progress = new Progress(io, "waiting");
  await writeResult(result, format, io, progress);
  return { stdout: stdout.text, stderr: stderr.text };
}

const PLAIN = { NO_COLOR: "1" };
const HEAD = [
  { name: "N", role: "id" },
  { name: "X", role: "id" },
] as const;
const linesOf = (text: string) => text.split("\n").slice(0, -1);

describe("a table", () => {
  it("is cut nowhere in a pipe, and has its head there", async () => {
    const lines = linesOf((await shown(listing([KEYS]))).stdout);
    expect(lines[0]).toMatch(/^ID .*NAME .*STATE .*TIER .*LAST USED .*EXPIRES .*OWNER .*CREATED .*SCOPES$/);
    expect(lines[2]).toContain("n".repeat(64));
    expect(lines[1]).toMatch(/laptop +active +basic +never +never +usr_AbCd1234AbCd1234 +36 hours ago +orders:read$/);
  });

  it.each([200, 120, 80, 50, 40])("has no line beyond a terminal of %d columns, and whole ids", async (columns) => {
    const lines = linesOf((await shown(listing([KEYS]), columns, "people", PLAIN)).stdout);
    expect(lines).toHaveLength(KEYS.length + 1);
    // A full-width character takes two columns, and is one character.
    expect(lines.filter((line) => line.length > columns)).toEqual([]);
    expect(lines.slice(1).map((line) => line.split(" ")[0])).toEqual(KEYS.map(({ id }) => id));
  });

  it("becomes a block of lines for each row on a terminal of 20 columns", async () => {
    const { stdout } = await shown(listing([KEYS.slice(0, 1)]), 20, "people", PLAIN);
    expect(linesOf(stdout).slice(0, 4)).toEqual(["Id:", "key_AbCd1234AbCd1230", "Name: laptop", "State: active"]);
  });

  it("has colour on a terminal alone, and none with NO_COLOR or on a dumb one", async () => {
    expect((await shown(listing([KEYS]), 200)).stdout).toContain("\u001b[32mactive\u001b[39m");
    for (const { stdout } of [
      await shown(listing([KEYS])),
      await shown(listing([KEYS]), 200, "people", PLAIN),
      await shown(listing([KEYS]), 200, "people", { TERM: "dumb" }),
    ]) {
      expect(stdout).not.toContain("\u001b");
    }
  });

  it("without rows is a sentence on a terminal, and a head in a pipe", async () => {
    expect(await shown(listing([]), 80)).toEqual({ stdout: "", stderr: "there are no such keys\n" });
    expect((await shown(listing([]))).stdout).toMatch(/^ID .*\n$/);
  });
});

describe("text of others", () => {
  it("can't write to the terminal, in any form", async () => {
    for (const format of ["people", "json", "jsonl", "quiet"] as const) {
      const { stdout } = await shown(listing([KEYS]), 200, format, PLAIN);
      // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what this looks for
      expect(stdout).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202a-\u202e]/);
    }
    expect((await shown(listing([KEYS]), 200, "people", PLAIN)).stdout).toContain("evil\\u001b[31m\\u202e");
  });

  it("is escaped as JSON would escape it, and JSON is read back as it was", () => {
    expect(printable("a\u0007\u009b\n\u2066\ud800")).toBe("a\\u0007\\u009b\\u000a\\u2066\ufffd");
    const value = { "a\u009b": ["\u001b", "\u202e", 'quote"\\'] };
    expect(JSON.parse(printableJson(value, 2))).toEqual(value);
  });
});

describe("pages", () => {
  const pages = [KEYS.slice(0, 2), KEYS.slice(2, 3), KEYS.slice(3)];
  it("are one answer with --json, without a token", async () => {
    const answer = JSON.parse((await shown(listing(pages), undefined, "json")).stdout);
    expect(answer).toMatchObject({ keys: KEYS.map(({ id }) => ({ id })), totalSize: 4, nextPageToken: "" });
  });

  it("end at the limit, without a call beyond it", async () => {
    expect((await shown(listing(pages, 3), undefined, "quiet")).stdout).toBe(
      KEYS.slice(0, 3)
        .map(({ id }) => `${id}\n`)
        .join(""),
    );
    expect(JSON.parse((await shown(listing(pages, 1), undefined, "json")).stdout).keys).toHaveLength(1);
  });
});

describe("a stream", () => {
  it("is written item by item, and ends when the reader has gone", async () => {
    let made = 0;
    async function* items(): AsyncGenerator<Item> {
      for (;;) yield { json: { n: ++made }, quiet: String(made), cells: [String(made), { text: "x", style: "good" }] };
    }
    const stdout = new Recorded(undefined);
    const write = stdout._write.bind(stdout);
    stdout._write = (chunk, encoding, done) =>
      made < 3 ? write(chunk, encoding, done) : done(Object.assign(new Error("write EPIPE"), { code: "EPIPE" }));
    stdout.on("error", () => {});
    const io = { ...recordedIo(), stdout };
    using progress = new Progress(io, "waiting");
    await expect(writeResult({ kind: "stream", head: HEAD, items: items() }, "json", io, progress)).rejects.toThrow(
      ReaderGone,
    );
    expect([stdout.text, made]).toEqual(['{"n":1}\n{"n":2}\n', 3]);
  });
});

it("a disk that is full is an error, and names its code", async () => {
  const stdout = new Recorded(undefined);
  stdout._write = (_chunk, _encoding, done) => done(Object.assign(new Error("full"), { code: "ENOSPC" }));
  stdout.on("error", () => {});
  const io = { ...recordedIo(), stdout };
  using progress = new Progress(io, "waiting");
  const written = writeResult({ kind: "verbatim", text: "script" }, "people", io, progress);
  await expect(written).rejects.toMatchObject({ exitCode: 1, message: "standard output can't be written (ENOSPC)" });
});

describe("progress", () => {
  afterEach(() => vi.useRealTimers());

  it("shows nothing for 2 s, then what is waited for, and erases it before anything else is written", async () => {
    vi.useFakeTimers();
    const stderr = new Recorded(40);
    using progress = new Progress({ ...recordedIo(PLAIN), stderr }, "waiting for the service");
    vi.advanceTimersByTime(1900);
    expect(stderr.text).toBe("");
    vi.advanceTimersByTime(600);
    expect(stderr.text).toMatch(/waiting for the service, 2 s$/);
    progress.clear();
    expect(stderr.text.endsWith("\r\u001b[2K")).toBe(true);
  });

  it("shows nothing where standard error is no terminal, and fits into 20 columns", async () => {
    vi.useFakeTimers();
    const [pipe, narrow] = [new Recorded(undefined), new Recorded(20)];
    using silent = new Progress({ ...recordedIo(), stderr: pipe }, "waiting for the service");
    using shownThere = new Progress({ ...recordedIo(PLAIN), stderr: narrow }, "waiting for the service");
    vi.advanceTimersByTime(10_000);
    expect(pipe.text).toBe("");
    expect(narrow.text.split("\r\u001b[2K").filter((frame) => frame.length > 19)).toEqual([]);
    expect(narrow.text).not.toBe("");
    expect([silent, shownThere]).toHaveLength(2);
    vi.useRealTimers();
    await turn();
  });
});

describe("times", () => {
  it.each([
    [-36 * HOUR_MS, "36 hours ago"],
    [30 * 24 * HOUR_MS, "in 30 days"],
    [400 * 24 * HOUR_MS, "in 13 months"],
    [-90_000, "90 seconds ago"],
    [-1500, "2 seconds ago"],
    [200, "now"],
  ])("%d ms from now are %s", (ms, text) => {
    expect(relative(NOW_MS, timestampFromMs(NOW_MS + ms))).toBe(text);
  });

  it("are read as durations and as RFC 3339, and nothing else is", () => {
    expect(["90s", "15m", "12h", "30d", "2w"].map(readDuration)).toEqual([90e3, 900e3, 432e5, 2592e6, 12096e5]);
    expect(["", "5", "1.5h", "-1d", "1y", "9999999999s", "1d1h"].map(readDuration)).toEqual(Array(7).fill(undefined));
    expect(readTime("2027-01-31")).toBe(Date.UTC(2027, 0, 31));
    expect(readTime("2027-01-31T12:00:00+01:00")).toBe(Date.UTC(2027, 0, 31, 11));
    expect(["2027-02-31T25:00:00Z", "tomorrow", "1", "2027-1-1"].map(readTime)).toEqual(Array(4).fill(undefined));
    expect(lengthText(1000)).toBe("1 second");
  });
});
