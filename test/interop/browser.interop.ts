/** Pages in headless Chromium, with the running service: examples/browser over Connect and gRPC-Web, and `/docs`. */
import { join } from "node:path";
import { build, type PreviewServer, preview } from "vite";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { KeyService } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { freePort, privateFolder } from "../support/child-process.ts";
import { CHROMIUM, type Chromium, type Page, startChromium } from "../support/chromium.ts";
import { clientOf } from "../support/clients.ts";
import { EXAMPLES } from "../support/examples.ts";
import { until } from "../support/until.ts";
import { docsPageContract } from "./docs-page.ts";
import { type RunningService, startRunningService } from "./running-service.ts";
import { hasTools } from "./tools.ts";

describe.skipIf(!hasTools(CHROMIUM))("a page in Chromium", () => {
  let service: RunningService;
  let chromium: Chromium;
  let server: PreviewServer;
  let port: number;

  beforeAll(async () => {
    port = await freePort();
    const outDir = privateFolder("latchkey-page-");
    const place = { root: join(EXAMPLES, "browser"), configFile: false, logLevel: "error" } as const;
    const starting = startRunningService({ LATCHKEY_CORS_ORIGINS: `http://127.0.0.1:${port}` });
    starting.catch(() => {});
    await build({ ...place, build: { outDir, emptyOutDir: true } });
    server = await preview({ ...place, build: { outDir }, preview: { host: "127.0.0.1", port, strictPort: true } });
    chromium = startChromium(CHROMIUM[0][0]);
    service = await starting;
  });
  afterAll(async () => {
    await chromium?.[Symbol.asyncDispose]();
    await server?.close();
    await service?.[Symbol.asyncDispose]();
  });

  describe("of examples/browser", () => {
    const open = async (host: string) => {
      const page = await chromium.open(`http://${host}:${port}/?latchkey=http://${service.address}`);
      const isThere = "document.forms.length === 1 && document.readyState === 'complete'";
      await until(async () => (await page.evaluate(isThere)) === true, "the page is there");
      return page;
    };
    const textOf = (page: Page, selector: string) => page.evaluate(`document.querySelector("${selector}").textContent`);
    /** Fills in the form, presses a button, and returns what the page then says. */
    const press = async (page: Page, button: string, fields: Readonly<Record<string, string>>) => {
      for (const [name, value] of Object.entries(fields)) {
        await page.evaluate(`document.forms[0].elements[${JSON.stringify(name)}].value = ${JSON.stringify(value)}`);
      }
      await page.evaluate(`document.querySelector("[value=${button}]").click()`);
      await until(async () => !["", "…"].includes(`${await textOf(page, "p")}`), "the page says what came of it");
      return textOf(page, "p");
    };

    it.each(["Connect", "gRPC-Web"])("registers a person, logs them in and makes a key, by %s", async (protocol) => {
      const email = `${protocol.toLowerCase()}@example.com`;
      const fields = { protocol, email, password: "a long and unusual phrase" };
      const page = await open("127.0.0.1");
      expect(await press(page, "register", fields)).toBe("logged in");
      const apiKey = `${await press(page, "issue", {})}`;
      expect(apiKey).toMatch(/^kit_live_/);
      expect(await textOf(page, "ul")).toMatch(/^from the page \(key_\w+\)$/);
      const verifier = clientOf(service.address, KeyService, service.verifier);
      expect(await verifier.verifyKey({ apiKey })).toMatchObject({ valid: true });
      // The details of an error are in headers or trailers, which a page sees only if CORS exposes them.
      expect(await press(page, "login", { ...fields, password: "another long phrase" })).toBe("LOGIN_FAILED");
      expect(await press(page, "login", fields)).toBe("logged in");
    });

    it.each(["Connect", "gRPC-Web"])("gets nothing where CORS does not name its origin, by %s", async (protocol) => {
      const page = await open("localhost");
      const fields = { protocol, email: "mallory@example.com", password: "a long and unusual phrase" };
      expect(await press(page, "register", fields)).toContain("Failed to fetch");
    });
  });

  describe("/docs", () => {
    docsPageContract(
      () => chromium,
      () => service,
    );
  });
});
