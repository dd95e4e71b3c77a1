import { defineConfig } from "vitest/config";

/**
 * What test/mutation/run.ts runs in a copy of the sources that holds one mutant: the service and the stores on the
 * PostgreSQL and Redis of that run, which is quicker than one embedded database after another, up to the first failure.
 */
export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    exclude: ["**/*.faults.test.ts"],
    provide: { backing: "servers", ...JSON.parse(process.env.MUTATION_PROVIDED ?? "{}") },
    // The contract suites hold both databases to the same: one of them is enough to find a mutant.
    testNamePattern: /^(?!\S+( and \S+)? on embedded)/,
    pool: "forks",
    bail: 1,
    testTimeout: 15_000,
    hookTimeout: 60_000,
    restoreMocks: true,
  },
});
