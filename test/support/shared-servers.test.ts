import { expect, it } from "vitest";
import { canStart, missingServersLine } from "./shared-servers.ts";

it("a missing server skips on a laptop and fails in CI", () => {
  expect(canStart("postgres", {}, () => false)).toBe(false);
  expect(() => canStart("postgres", { CI: "true" }, () => false)).toThrow("install the package postgresql");
  expect(canStart("postgres", { CI: "true" }, () => true)).toBe(true);
});

it("a run says in one line what it leaves out, and nothing when it leaves out nothing", () => {
  expect(missingServersLine(["postgres", "redis"])?.split("\n")).toHaveLength(2);
  expect(missingServersLine([])).toBeUndefined();
});
