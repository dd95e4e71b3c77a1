import type { TestUserConfig } from "vitest/config";
import { configDefaults, defineConfig } from "vitest/config";

/** Files that run in the `faults-judging-times` project. */
const JUDGING_TIMES = [
  "cold-keys",
  "deadline",
  "distance",
  "hostile-http2",
  "hot-keys",
  "busy-callers",
  "login-flood",
  "verify-key-during-logins",
  "machine",
  "management-share",
  "memory",
  "postgres-down",
  "verify-key-on-faulty-redis",
  "redis-cluster",
  "refresh-races",
  "revocation",
  "rolling-restart",
  "staleness",
  "stop",
  "turn-hogs",
].map((name) => `test/faults/${name}.faults.test.ts`);

/** Long files that `npm test` leaves out, to stay below two minutes. `npm run test:servers` runs them. */
const LONG = [
  ...["auth/login-throttle", "auth/owner-logins", "client/near/near-memory", "client/near/shared-judgement"],
  ...["keys/globs", "limits/limiter", "limits/limiter-after-outage", "redis/hostile-redis"],
  ...["rpc/audit", "rpc/change-rate", "rpc/client-certificates", "rpc/ext-authz"],
  ...["rpc/login-throttle", "rpc/operators", "rpc/owner-logins", "rpc/tracing", "rpc/watch-revocations"],
  ...["wire/fair-turns", "wire/fuzz", "wire/port", "wire/slow-clients"],
].map((name) => `test/${name}.test.ts`);

/** Files of test/rpc/ that the `rest-lane` project leaves out: none of them judges an answer to a unary RPC. */
const WITHOUT_REST = [
  // Functions, without a service.
  ...["client-ip", "deadlines", "errors", "metrics", "page-token", "timeout", "trace-context", "verdict-encoding"],
  // The protocols themselves.
  "metrics-of-service",
  // Sockets and certificates.
  ...["served-certificate", "unread-answers"],
  // A stream, and a service of Envoy's.
  ...["watch-revocations", "ext-authz"],
  // A process' memory and its master keys: the callers are the same on every lane.
  ...["cached-keys.servers", "master-keys.servers"],
].map((name) => `test/rpc/${name}.test.ts`);

const FAULTS = "test/**/*.faults.test.ts";
const SERVERS = "test/**/*.servers.test.ts";

/** Tests are judged by what happens, not by the speed of the machine: only a test that hangs reaches these limits. */
const everyday = {
  globalSetup: "test/support/global-setup.ts",
  pool: "forks",
  // The embedded database takes 350 MB and a core while it starts: more at once is slower.
  maxWorkers: 2,
  // A process for each file would spend a third of the time on its start and imports. No test leaves anything behind.
  isolate: false,
  testTimeout: 60_000,
  hookTimeout: 120_000,
  expect: { poll: { timeout: 30_000, interval: 10 } },
  restoreMocks: true,
} as const;

/** Tests with real processes: each file has its own process. */
const faults = {
  globalSetup: "test/support/global-setup.ts",
  provide: { backing: "servers" },
  pool: "forks",
  testTimeout: 120_000,
  hookTimeout: 240_000,
  expect: { poll: { timeout: 30_000, interval: 10 } },
} as const;

/** One project for each kind of run. The npm scripts name theirs with `--project`. */
const test: TestUserConfig = {
  // Without `--project`, Vitest runs the everyday suite.
  project: "everyday",
  reporters: ["default"],
  projects: [
    {
      // `npm test`: short windows, a clock that tests move, and the embedded database where a test has one.
      test: {
        ...everyday,
        name: "everyday",
        include: ["test/**/*.test.ts"],
        exclude: [...configDefaults.exclude, FAULTS, SERVERS, ...LONG],
        provide: { backing: "embedded", stores: "embedded" },
      },
    },
    {
      // `npm run test:servers`: the stores, and the tests that start the service, with PostgreSQL and Redis;
      // `*.servers.test.ts`, which need these servers; and what is too long for `npm test`.
      test: {
        ...everyday,
        name: "servers",
        include: ["test/rpc/**/*.test.ts", "test/contract/**/*.test.ts", SERVERS, ...LONG],
        exclude: [...configDefaults.exclude, FAULTS],
        provide: { backing: "servers", stores: "servers" },
      },
    },
    {
      // `npm run test:connect-lane`: unary gRPC goes through Connect, because both lanes must behave alike.
      test: {
        ...everyday,
        name: "connect-lane",
        include: ["test/rpc/**/*.test.ts", "test/wire/**/*.test.ts"],
        exclude: [...configDefaults.exclude, FAULTS, SERVERS],
        provide: { backing: "servers", unaryLane: false },
      },
    },
    {
      // `npm run test:rest-lane`: unary calls go by REST wherever a test's client is that of test/support.
      test: {
        ...everyday,
        name: "rest-lane",
        include: ["test/rpc/**/*.test.ts"],
        exclude: [...configDefaults.exclude, FAULTS, ...WITHOUT_REST],
        provide: { backing: "servers", restLane: true },
      },
    },
    {
      // `npm run test:faults`, part one: files that count, compare and search. Another test beside them breaks none
      // of their bounds of time. They mostly wait for processes to start and for outages to pass, so four run at once.
      test: {
        ...faults,
        name: "faults-counting",
        include: [FAULTS],
        exclude: [...configDefaults.exclude, ...JUDGING_TIMES],
        maxWorkers: 4,
        // Two minutes of light load, and a start that gives up after a minute without a database.
        testTimeout: 240_000,
        // As below: .ci/run lists each test that passed at a second attempt.
        retry: 1,
        sequence: { groupOrder: 1 },
      },
    },
    {
      // Part two: files that judge how long something takes beside an attack or an outage. Nothing runs beside them.
      test: {
        ...faults,
        name: "faults-judging-times",
        include: JUDGING_TIMES,
        maxWorkers: 1,
        // Other load on the machine spoils a time now and then. A second attempt judges it, and .ci/run lists those.
        retry: 1,
        sequence: { groupOrder: 2 },
      },
    },
    {
      // `npm run test:interop`: the client's package, its middleware in each framework, clients in other languages,
      // the examples and the quickstarts, with the running service. No file judges times.
      test: {
        ...everyday,
        name: "interop",
        globalSetup: ["test/support/global-setup.ts", "test/support/built-packages.ts"],
        include: ["test/{client,command,deploy,interop}/*.interop.ts"],
        testTimeout: 240_000,
        hookTimeout: 240_000,
        provide: { backing: "embedded" },
      },
    },
    {
      // `npm run soak:limits`: the limiter under load for a quarter of an hour instead of two minutes.
      test: {
        ...faults,
        name: "soak",
        include: ["test/faults/limits.faults.test.ts"],
        provide: { ...faults.provide, limitsLoadSeconds: 900 },
      },
    },
    {
      // `npm run check`: the rules of the house alone, which need no server and no database.
      test: { name: "tidy", include: ["test/tidy.test.ts", "test/tidy/**/*.test.ts"] },
    },
    {
      // `npm run test:mutation` runs this in a copy of the sources that holds one mutant. run.ts starts the servers,
      // which is quicker than an embedded database for each file. A run ends with its first failure.
      test: {
        name: "mutation",
        include: ["test/**/*.test.ts"],
        exclude: [...configDefaults.exclude, FAULTS],
        provide: { backing: "servers", stores: "both", ...JSON.parse(process.env.MUTATION_PROVIDED ?? "{}") },
        pool: "forks",
        bail: 1,
        testTimeout: 15_000,
        hookTimeout: 60_000,
        restoreMocks: true,
      },
    },
  ],
};
export default defineConfig({ test });
