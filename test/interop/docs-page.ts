/** The page `/docs` in headless Chromium, from the running service. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, expect, it } from "vitest";
import type { Description } from "../../scripts/openapi/mend.ts";
import type { Chromium, Page } from "../support/chromium.ts";
import { until } from "../support/until.ts";
import type { RunningService } from "./running-service.ts";

const file = join(import.meta.dirname, "../../src/rpc/standard/openapi.json");
const description: Description = JSON.parse(readFileSync(file, "utf8"));
const OPERATIONS = Object.values(description.paths).flatMap((item) =>
  Object.values(item).map(({ operationId }) => operationId),
);

/** The suite of the page. Both arguments are asked once the tests run. */
export function docsPageContract(chromium: () => Chromium, running: () => RunningService): void {
  let service: RunningService;
  let page: Page;

  beforeAll(async () => {
    service = running();
    page = await chromium().open(`http://${service.address}/docs`);
    const count = "document.querySelectorAll('.opblock').length";
    await until(async () => (await page.evaluate(count)) === OPERATIONS.length, "every operation is there");
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

  it("sends a request with the credential that a reader types, and shows the answer", async () => {
    const click = (selector: string) => page.evaluate(`document.querySelector(${JSON.stringify(selector)}).click()`);
    const isThere = async (selector: string) => {
      const found = `document.querySelector(${JSON.stringify(selector)}) !== null`;
      await until(async () => (await page.evaluate(found)) === true, `${selector} is there`);
    };
    const then = async (selector: string) => {
      await isThere(selector);
      await click(selector);
    };
    await then(".scheme-container .authorize");
    const field = ".auth-container input";
    await isThere(field);
    // React notices only what the element's own setter writes.
    await page.evaluate(`(() => {
      const input = document.querySelector(${JSON.stringify(field)});
      const { set } = Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, "value");
      set.call(input, ${JSON.stringify(service.ownerToken)});
      input.dispatchEvent(new Event("input", { bubbles: true }));
    })()`);
    await then(".auth-container .authorize");
    await then(".auth-container .btn-done");
    const operation = "#operations-AuthService-AuthService_GetCurrentUser";
    await then(`${operation} .opblock-summary-control`);
    await then(`${operation} .try-out__btn`);
    await then(`${operation} .execute`);
    await isThere(`${operation} .live-responses-table .response-col_status`);
    const shown = await page.evaluate(`document.querySelector("${operation} .live-responses-table").innerText`);
    expect(shown).toContain("200");
    expect(shown).toContain("STATE_ACTIVE");
    expect(page.faults).toEqual([]);
  });

  it("would tell of a violation: the rules hold in this page", async () => {
    await page.evaluate("document.body.append(Object.assign(new Image(), { src: 'http://192.0.2.1/x.png' }))");
    await until(() => page.faults.length > 0, "the violation is told");
    expect(page.faults.join()).toContain("Content Security Policy");
  });
}
