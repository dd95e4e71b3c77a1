/** The quickstarts that need no other language than those of this project. */
import { expect, it } from "vitest";
import { startTestService } from "../support/in-process-service.ts";
import { walkQuickstart } from "../support/quickstart.ts";

it.each(["typescript.md", "curl.md"])("docs/quickstarts/%s leads a reader to what it promises", async (page) => {
  await using service = await startTestService();
  expect(await walkQuickstart(page, service)).toEqual([]);
});
