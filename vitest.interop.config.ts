import { defineConfig } from "vitest/config";

/** `npm run test:interop`: the client's package, its middleware and the examples, with the running service. */
export default defineConfig({
  test: {
    include: ["test/client/*.interop.ts"],
    globalSetup: "test/support/global-setup.ts",
    provide: { backing: "embedded" },
    pool: "forks",
    maxWorkers: 1,
    testTimeout: 120_000,
    hookTimeout: 120_000,
    expect: { poll: { timeout: 30_000, interval: 10 } },
    reporters: ["default"],
  },
});
