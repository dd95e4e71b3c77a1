import { spawn } from "node:child_process";
import { once } from "node:events";
import { describe, expect, it } from "vitest";
import { until } from "../support/until.ts";

/** Writes lines of the log and one export, while its reader rests, and says on standard error when it has written. */
const PROGRAM = `
  import { StandardOutput } from "./src/lib/standard-output.ts";
  const out = StandardOutput.shared();
  let isWritten = false;
  const lines = (mark, count) => Array.from({ length: count }, (_, n) => mark + n + "x".repeat(1000) + "\\n").join("");
  for (let n = 0; n < 3000; n++) out.write("log" + n + "x".repeat(1000) + "\\n");
  const { dropped } = out;
  const written = out.writeSurely(lines("event", 500)).then(() => { isWritten = true; });
  // As a server does, it keeps the process alive.
  const server = setInterval(() => {}, 1000);
  setTimeout(async () => {
    process.stderr.write(isWritten ? "early\\n" : "waiting\\n");
    await written;
    process.stderr.write("written, " + dropped + " dropped\\n");
    clearInterval(server);
  }, 100);
`;

describe("standard output", () => {
  it("drops lines of the log while its reader rests, and writes in one piece what must not be dropped", async () => {
    const child = spawn(process.execPath, ["--input-type=module", "-e", PROGRAM], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    let said = "";
    child.stderr.on("data", (chunk: Buffer) => {
      said += chunk;
    });
    await until(() => said !== "", "the process has tried to write");
    expect(said).toBe("waiting\n");
    let output = "";
    child.stdout.on("data", (chunk: Buffer) => {
      output += chunk;
    });
    await once(child, "close");
    const dropped = Number(/^waiting\nwritten, (\d+) dropped\n$/.exec(said)?.[1]);
    const lines = output.trimEnd().split("\n");
    expect(lines.filter((line) => !/^(log|event)\d+x{1000}$/.test(line))).toEqual([]);
    const events = lines.filter((line) => line.startsWith("event")).map((line) => Number.parseInt(line.slice(5), 10));
    expect(events).toEqual(Array.from({ length: 500 }, (_, n) => n));
    expect(lines.length - events.length, "1 MiB of the log is kept").toBeLessThan(1500);
    expect(dropped, "what was dropped is counted").toBe(3000 - (lines.length - events.length));
  });
});
