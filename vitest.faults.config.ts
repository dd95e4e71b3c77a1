import { defineConfig } from "vitest/config";

/** What happens when things break: real processes that are killed, frozen and cut off, so one file at a time. */
export default defineConfig({
  test: {
    include: ["test/**/*.faults.test.ts"],
    globalSetup: "test/support/global-setup.ts",
    provide: { backing: "servers" },
    pool: "forks",
    fileParallelism: false,
    testTimeout: 120_000,
    hookTimeout: 120_000,
    reporters: ["default"],
  },
});
