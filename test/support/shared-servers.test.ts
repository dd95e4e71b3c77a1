import { expect, it } from "vitest";
import { canStart, missingServersLine } from "./shared-servers.ts";

it("a missing server skips tests on a laptop and fails them in CI", () => {
  expect(canStart("postgres", {}, () => false)).toBe(false);
  expect(() => canStart("postgres", { CI: "true" }, () => false)).toThrow("install the package postgresql");
  expect(canStart("postgres", { CI: "true" }, () => true)).toBe(true);
});

it("a run names the tests that it skips in one line, and prints no line if it skips none", () => {
  expect(missingServersLine(["postgres", "redis"])?.split("\n")).toHaveLength(2);
  expect(missingServersLine([])).toBeUndefined();
});
