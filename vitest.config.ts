import { defineConfig } from "vitest/config";

/** The everyday suite: short windows, a clock that tests move, the embedded database where a test starts the service. */
export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    exclude: ["**/*.faults.test.ts", "**/*.servers.test.ts", "**/*.soak.test.ts"],
    globalSetup: "test/support/global-setup.ts",
    provide: { backing: "embedded" },
    pool: "forks",
    // The embedded database takes 350 MB and a core while it starts: more at once is slower.
    maxWorkers: 2,
    // A process for each file would spend a third of the time on its start and imports; no test leaves anything behind.
    isolate: false,
    // Only what hangs fails by it: no test is judged by the speed of its machine.
    testTimeout: 60_000,
    hookTimeout: 120_000,
    expect: { poll: { timeout: 30_000, interval: 10 } },
    restoreMocks: true,
    reporters: ["default"],
  },
});
