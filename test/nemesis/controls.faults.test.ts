import { describe, expect, it } from "vitest";
import { canStart } from "../support/shared-servers.ts";
import { CONTROLS, reportOf } from "./controls.ts";

/** A control for each part of the checker. `npm run test:nemesis -- --controls` runs all controls. */
const SHORT = CONTROLS.filter(({ isShort }) => isShort);

describe.skipIf(!canStart("postgres") || !canStart("redis"))(
  "a short run of the nemesis reports a build in which",
  () => {
    it.each(SHORT)("$name", async (control) => expect(await reportOf(control, 1)).toBeDefined());

    it("has three short controls", () => expect(SHORT).toHaveLength(3));
  },
);
