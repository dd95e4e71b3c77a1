/** docs/quickstarts/typescript.md, copied and run word for word; only addresses and folders are the test's own. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { blocksOf, openShell, runBlocks } from "../support/documented-lines.ts";
import { startTestService } from "../support/in-process-service.ts";

const root = join(import.meta.dirname, "../..");
const page = readFileSync(join(root, "docs/quickstarts/typescript.md"), "utf8");
const folder = mkdtempSync(join(tmpdir(), "latchkey-quickstart-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

it("leads from an empty folder to protected routes", async () => {
  await using service = await startTestService();
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const { port } = probe.address() as AddressInfo;
  probe.close();
  // A checkout has the operator's credential of the service that runs in it, and the client.
  const checkout = join(folder, "checkout");
  mkdirSync(join(checkout, "data"), { recursive: true });
  writeFileSync(join(checkout, "data/admin-credential"), service.admin);
  symlinkSync(join(root, "client"), join(checkout, "client"));
  const text = page.replaceAll("/tmp", folder).replaceAll("localhost:3000", `localhost:${port}`);

  await using shell = openShell(checkout);
  const [first, second, last] = blocksOf(text);
  const outcomes = await runBlocks([first!, second!], shell, service.address);
  expect(outcomes.filter(({ fault }) => fault !== undefined)).toEqual([]);

  const [, program = ""] = /^```ts\n([\s\S]*?)^```/m.exec(text) ?? [];
  const file = join(folder, "shop/shop.ts");
  writeFileSync(file, program.replaceAll("localhost:8080", service.address).replace("listen(3000", `listen(${port}`));
  const { output: credential } = await shell.run("echo $LATCHKEY_CREDENTIAL");
  const env = { ...process.env, LATCHKEY_CREDENTIAL: credential.trim() };
  const child = spawn("node", [file], { env, stdio: ["ignore", "pipe", "inherit"] });
  try {
    await once(child.stdout, "data");
    for (const line of last!.lines) {
      const { output } = await shell.run(line);
      expect(output).toMatch(new RegExp(`^HTTP/1.1 ${/# (\d{3})/.exec(line)![1]} `));
      if (line.includes("with RateLimit fields")) expect(output).toContain("RateLimit-Policy:");
    }
  } finally {
    child.kill();
  }
});
