/** The page `/docs` in headless Chromium, from the running service. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Description } from "../../scripts/openapi/mend.ts";
import { CHROMIUM, type Chromium, type Page, startChromium } from "../support/chromium.ts";
import { until } from "../support/until.ts";
import { type RunningService, startRunningService } from "./running-service.ts";
import { hasTools } from "./tools.ts";

const file = join(import.meta.dirname, "../../src/rpc/standard/openapi.json");
const description: Description = JSON.parse(readFileSync(file, "utf8"));
const OPERATIONS = Object.values(description.paths).flatMap((item) =>
  Object.values(item).map(({ operationId }) => operationId),
);

describe.skipIf(!hasTools(CHROMIUM))("the page /docs", () => {
  let service: RunningService;
  let chromium: Chromium;
  let page: Page;

  beforeAll(async () => {
    chromium = startChromium(CHROMIUM[0][0]);
    service = await startRunningService();
    page = await chromium.open(`http://${service.address}/docs`);
    const count = "document.querySelectorAll('.opblock').length";
    await until(async () => (await page.evaluate(count)) === OPERATIONS.length, "every operation is there");
  });
  afterAll(async () => {
    await chromium?.[Symbol.asyncDispose]();
    await service?.[Symbol.asyncDispose]();
  });

  it("lists every operation of the description", async () => {
    const ids = await page.evaluate("[...document.querySelectorAll('.opblock')].map(({ id }) => id)");
    expect((ids as string[]).map((id) => id.split("-").at(-1)).sort()).toEqual(OPERATIONS.sort());
  });

  it("asks for its own files alone, and breaks no rule of its Content-Security-Policy", () => {
    const elsewhere = page.requests.filter((url) => !url.startsWith("data:") && new URL(url).host !== service.address);
    expect(elsewhere).toEqual([]);
    expect(page.requests).toContain(`http://${service.address}/openapi.json`);
    expect(page.faults).toEqual([]);
  });

  it("would tell of a violation: the rules hold in this page", async () => {
    await page.evaluate("document.body.append(Object.assign(new Image(), { src: 'http://192.0.2.1/x.png' }))");
    await until(() => page.faults.length > 0, "the violation is told");
    expect(page.faults.join()).toContain("Content Security Policy");
  });
});
