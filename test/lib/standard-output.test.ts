import { spawn } from "node:child_process";
import { once } from "node:events";
import { text } from "node:stream/consumers";
import { expect, it } from "vitest";

const MODULE = new URL("../../src/lib/standard-output.ts", import.meta.url).href;

it("standard output counts the lines that it drops because nothing reads them", async () => {
  const write = `
    import { StandardOutput } from ${JSON.stringify(MODULE)};
    const output = new StandardOutput();
    for (let line = 0; line < 3000; line++) output.write("x".repeat(1023) + "\\n");
    process.stderr.write(String(output.dropped));
    process.kill(process.pid, "SIGKILL");`;
  const child = spawn(process.execPath, ["--input-type=module", "--eval", write], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  const [dropped] = await Promise.all([text(child.stderr), once(child, "exit")]);
  // 1 MiB is kept, and one line more.
  expect(Number(dropped)).toBe(3000 - 1025);
});
