/**
 * The servers that tests share. One PostgreSQL and one Redis run for the whole test run (global-setup.ts), and each
 * test takes a database of its own there. A test that hurts a server starts its own.
 *
 * A machine without a server skips the tests that need it, and the run says so in one line. In CI these tests fail, so
 * that no test is green because it did not run.
 */
import { randomBytes } from "node:crypto";
import { inject } from "vitest";
import { createDatabase, hasPostgres } from "./own-postgres.ts";
import { hasRedis, REDIS_DATABASES, redisCommand } from "./own-redis.ts";
import { hasPgbouncer } from "./pgbouncer-server.ts";

/** Servers that run once for all tests. A test that needs a pooler starts its own. */
type SharedKind = "postgres" | "redis";
export type ServerKind = SharedKind | "pgbouncer";

declare module "vitest" {
  interface ProvidedContext {
    /** URLs of the run's servers; null if the machine has no such server. */
    postgresUrl: string | null;
    redisUrl: string | null;
    /**
     * The servers behind the service of behaviour tests: `npm test` embedded, `npm run test:servers` PostgreSQL and
     * Redis.
     */
    backing: "embedded" | "servers";
    /** The stores that the run tests, if it tests any; see `ofRun`. */
    stores: "embedded" | "servers" | "both" | undefined;
  }
}

const PACKAGES = { postgres: "postgresql", redis: "redis-server", pgbouncer: "pgbouncer" } as const;
const PRESENCE = { postgres: hasPostgres, redis: hasRedis, pgbouncer: hasPgbouncer } as const;

/**
 * Whether this machine can run such a server, for `describe.skipIf(!canStart("redis"))`.
 *
 * @throws Error in CI if it cannot
 */
export function canStart(kind: ServerKind, environment = process.env, isPresent = PRESENCE[kind]): boolean {
  if (isPresent()) return true;
  if (environment.CI) throw new Error(`CI needs ${kind}: install the package ${PACKAGES[kind]}`);
  return false;
}

/**
 * The kinds of a store that this run tests: `npm test` those within the process, `npm run test:servers` those of
 * servers, and `npm run test:mutation` both. Without such a server, a run tests those within the process.
 */
export function ofRun<T>(withinProcess: T, kind: ServerKind, onServer: T): readonly T[] {
  const stores = inject("stores") ?? "embedded";
  if (stores === "embedded" || !canStart(kind)) return [withinProcess];
  return stores === "both" ? [withinProcess, onServer] : [onServer];
}

/** The one line about the skipped tests of a run; undefined if it skips none. */
export function missingServersLine(kinds: readonly ServerKind[]): string | undefined {
  if (kinds.length === 0) return undefined;
  const packages = kinds.map((kind) => PACKAGES[kind]).join(" and ");
  return `SKIPPED: every test that needs ${kinds.join(" or ")}; install ${packages} to run them.\n`;
}

/**
 * URL of the run's own server; undefined if the machine has none.
 *
 * @throws Error in CI if it has none
 */
export function serverFor(kind: SharedKind): string | undefined {
  if (!canStart(kind)) return undefined;
  const url = inject(kind === "postgres" ? "postgresUrl" : "redisUrl");
  if (url === null) throw new Error(`${kind} is here, but global-setup.ts did not start it`);
  return url;
}

/** Makes a new, empty database on the run's PostgreSQL, or a copy of `template`. Returns its URL. */
export function freshPostgres(template?: string): Promise<string> {
  return createDatabase(present(serverFor("postgres")), `test_${randomBytes(6).toString("hex")}`, template);
}

/** Takes an empty database of the run's Redis that no other test gets. Returns its URL. */
export async function freshRedis(): Promise<string> {
  const url = present(serverFor("redis"));
  const database = Number(await redisCommand(Number(new URL(url).port), "INCR", "test:databases"));
  if (database >= REDIS_DATABASES) throw new Error(`this run took all ${REDIS_DATABASES} databases of its Redis`);
  return `${url}/${database}`;
}

function present(url: string | undefined): string {
  if (url === undefined) throw new Error("no such server here: guard the test with describe.skipIf");
  return url;
}
