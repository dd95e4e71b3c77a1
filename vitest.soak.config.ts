import { defineConfig } from "vitest/config";
import { faults } from "./vitest.faults.config.ts";

/** The limiter under load for a quarter of an hour instead of two minutes. */
export default defineConfig({
  test: {
    ...faults,
    globalSetup: "test/support/global-setup.ts",
    include: ["test/faults/limits.faults.test.ts"],
    provide: { backing: "servers", limitsLoadSeconds: 900 },
  },
});
