import { describe, expect, it } from "vitest";
import { canStart } from "../support/servers.ts";
import { CONTROLS, reportOf } from "./controls.ts";
import { FAULTS } from "./nemesis.ts";

/** One of each part of the checker; `npm run test:nemesis -- --controls` runs all. */
const SHORT = ["the feed's changes are not applied", "a refresh token has", "each process counts for itself"];

describe.skipIf(!canStart("postgres") || !canStart("redis"))("a short run of the nemesis", () => {
  it.each(CONTROLS.filter(({ name }) => SHORT.some((short) => name.startsWith(short))))(
    "reports a build in which $name",
    async (control) => expect(await reportOf(control, 1)).toBeDefined(),
  );
});

describe("the nemesis", () => {
  it("draws from more than 20 kinds of faults, each by a name of its own", () => {
    const names = FAULTS.map(({ name }) => name);
    expect(new Set(names).size).toBe(names.length);
    expect(names.length).toBeGreaterThan(20);
  });

  it("has all of the short controls, and kinds of faults for each control", () => {
    expect(CONTROLS.filter(({ name }) => SHORT.some((short) => name.startsWith(short)))).toHaveLength(SHORT.length);
    for (const { kinds } of CONTROLS) {
      for (const kind of kinds) expect(FAULTS.some(({ name }) => name.startsWith(kind))).toBe(true);
    }
  });
});
