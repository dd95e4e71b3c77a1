import { configDefaults, defineConfig } from "vitest/config";

/** Real time that has to pass, with little work in it: two minutes of light load, a minute without a database. */
const WAITING = ["test/wire/limits.faults.test.ts", "test/wire/start.faults.test.ts"];
/** What is counted, compared or looked for, whenever it comes: no bound of time that another test could break. */
const COUNTING = [
  "test/docs/grpcurl-lines.faults.test.ts",
  "test/nemesis/*.faults.test.ts",
  "test/rpc/signing-keys.faults.test.ts",
  "test/simulation/mutants.faults.test.ts",
  "test/support/*.faults.test.ts",
  "test/wire/audit.faults.test.ts",
  "test/wire/conformance.faults.test.ts",
  "test/wire/data-folder.faults.test.ts",
  "test/wire/database-tls.faults.test.ts",
  "test/wire/login-cost.faults.test.ts",
  "test/wire/missing-database.faults.test.ts",
  "test/wire/secrets*.faults.test.ts",
  "test/wire/settings.faults.test.ts",
  "test/wire/standby-behind.faults.test.ts",
];

export const faults = {
  pool: "forks",
  testTimeout: 120_000,
  hookTimeout: 120_000,
  expect: { poll: { timeout: 30_000, interval: 10 } },
} as const;

/**
 * What happens when things break: real processes that are killed, frozen and cut off. One file at a time where times are
 * judged; two at once where they are not, or where a file mostly waits.
 */
export default defineConfig({
  test: {
    globalSetup: "test/support/global-setup.ts",
    provide: { backing: "servers" },
    reporters: ["default"],
    projects: [
      {
        // A start gives up after 60 s, whatever the machine has to do besides.
        test: {
          ...faults,
          ...{ name: "waiting", include: WAITING, maxWorkers: 2, sequence: { groupOrder: 1 } },
          testTimeout: 240_000,
        },
      },
      { test: { ...faults, name: "counting", include: COUNTING, maxWorkers: 2, sequence: { groupOrder: 2 } } },
      {
        test: {
          ...faults,
          name: "judging times",
          include: ["test/**/*.faults.test.ts"],
          exclude: [...configDefaults.exclude, ...WAITING, ...COUNTING],
          maxWorkers: 1,
          // Another's load spoils a time now and then: it is judged a second time, and .ci/run names each that was.
          retry: 1,
          sequence: { groupOrder: 3 },
        },
      },
    ],
  },
});
