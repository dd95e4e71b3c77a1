import { configDefaults, defineConfig } from "vitest/config";

/**
 * What judges how long something takes beside an attack or an outage, so that nothing else may run beside it. The other
 * files count, compare and look for, with bounds of time that another test does not break.
 */
const JUDGING_TIMES = [
  "test/faults/cold-keys.faults.test.ts",
  "test/faults/deadline.faults.test.ts",
  "test/faults/distance.faults.test.ts",
  "test/faults/hostile-http2.faults.test.ts",
  "test/faults/hot-keys.faults.test.ts",
  "test/faults/login-flood.faults.test.ts",
  "test/faults/login-storm.faults.test.ts",
  "test/faults/machine.faults.test.ts",
  "test/faults/management-share.faults.test.ts",
  "test/faults/memory.faults.test.ts",
  "test/faults/postgres-down.faults.test.ts",
  "test/faults/redis-down.faults.test.ts",
  "test/faults/refresh-races.faults.test.ts",
  "test/faults/revocation.faults.test.ts",
  "test/faults/staleness.faults.test.ts",
  "test/faults/stop.faults.test.ts",
  "test/faults/turn-hogs.faults.test.ts",
];

export const faults = {
  pool: "forks",
  testTimeout: 120_000,
  hookTimeout: 120_000,
  expect: { poll: { timeout: 30_000, interval: 10 } },
} as const;

/**
 * What happens when things break: real processes that are killed, frozen and cut off. Files that judge times run one at a
 * time; three of the others run at once, since they mostly wait for processes to start and for outages to pass.
 */
export default defineConfig({
  test: {
    globalSetup: "test/support/global-setup.ts",
    provide: { backing: "servers" },
    reporters: ["default"],
    projects: [
      {
        test: {
          ...faults,
          name: "counting",
          include: ["test/**/*.faults.test.ts"],
          exclude: [...configDefaults.exclude, ...JUDGING_TIMES],
          maxWorkers: 3,
          // Two minutes of light load and a start that gives up after a minute without a database are tests, too.
          testTimeout: 240_000,
          sequence: { groupOrder: 1 },
        },
      },
      {
        test: {
          ...faults,
          name: "judging times",
          include: JUDGING_TIMES,
          maxWorkers: 1,
          // Another's load spoils a time now and then: it is judged a second time, and .ci/run names each that was.
          retry: 1,
          sequence: { groupOrder: 2 },
        },
      },
    ],
  },
});
