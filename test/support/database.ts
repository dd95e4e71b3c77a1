/** Databases with the schema, a new one for each test file: on PGlite, and on the run's PostgreSQL. */
import { cpSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inject } from "vitest";
import { type Change, ChangeBus } from "../../src/changes/change.ts";
import { databaseUrl } from "../../src/config/database-url.ts";
import type { PostgresTarget } from "../../src/postgres/connections/orm-options.ts";
import { Database, type DatabaseTarget, type ManagedDatabase } from "../../src/postgres/database.ts";
import { itself } from "../../src/shares/holder.ts";
import { freshPostgres } from "./shared-servers.ts";
import { ShiftedClock } from "./shifted-clock.ts";

export type DatabaseKind = "embedded" | "postgres";

declare module "vitest" {
  interface ProvidedContext {
    /** Folder of an embedded database with the schema. Tests copy it. */
    embeddedTemplate: string;
  }
}

/** Name of the template database with the schema on the run's PostgreSQL. */
export const POSTGRES_TEMPLATE = "latchkey_template";

export interface TestDatabase extends AsyncDisposable {
  /** The database of one process, with one caller. */
  readonly database: ManagedDatabase;
  /**
   * The same database in three processes, so that calls meet in the database and not at the locks of one process. The
   * embedded database has one process.
   */
  processes(): Promise<readonly ManagedDatabase[]>;
  /** Moves the database's time. */
  readonly clock: ShiftedClock;
  /** Every change that was published, in order. */
  readonly changes: Change[];
  /** Tells the parts of one process about changes, as in the service. */
  readonly bus: ChangeBus;
}

const PROCESSES = 3;

/** A store whose calls go to one process after the other. */
export function byTurns<S extends object>(stores: readonly S[]): S {
  let calls = 0;
  return new Proxy(stores[0]!, {
    get: (_first, name) => {
      const store = stores[calls++ % stores.length]! as Record<string | symbol, unknown>;
      return (store[name] as (...input: unknown[]) => unknown).bind(store);
    },
  });
}

/** The caller of the statements of a test. */
export const TESTER = { holder: itself("test") };

/** Opens a new database with the schema and without data. */
export async function openDatabase(kind: DatabaseKind): Promise<TestDatabase> {
  const { target, remove } = await freshTarget(kind);
  return openTarget(target, remove);
}

/** Opens a database that has the schema. */
export async function openTarget(target: DatabaseTarget, remove = async () => {}): Promise<TestDatabase> {
  const clock = new ShiftedClock();
  const changes: Change[] = [];
  const bus = new ChangeBus();
  bus.add({ apply: (change) => changes.push(change), clear: () => {} });
  const open = async () =>
    (await Database.open({ target, timeShiftMs: () => clock.shiftMs(), onChanges: (made) => bus.publish(made) })).for(
      TESTER,
    );
  const database = await open();
  const all = [database];
  return {
    database,
    clock,
    changes,
    bus,
    async processes() {
      while (target.kind === "postgres" && all.length < PROCESSES) all.push(await open());
      return all;
    },
    async [Symbol.asyncDispose]() {
      await Promise.all(all.map((each) => each.close()));
      await remove();
    },
  };
}

/** A new database with the schema. Call `remove` after it is closed. */
export async function freshTarget(
  kind: DatabaseKind,
): Promise<{ readonly target: DatabaseTarget; remove(): Promise<void> }> {
  if (kind === "postgres") return { target: postgresTarget(await freshUrl()), remove: async () => {} };
  const folder = await mkdtemp(join(tmpdir(), "latchkey-data-"));
  cpSync(inject("embeddedTemplate"), folder, { recursive: true });
  return { target: { kind: "embedded", folder }, remove: () => rm(folder, { recursive: true, force: true }) };
}

/** URL of a new database with the schema, on the run's PostgreSQL. */
export function freshUrl(): Promise<string> {
  return freshPostgres(POSTGRES_TEMPLATE);
}

/** The database that a URL names, as the service reaches it. */
export function postgresTarget(url: string, poolSize = 5): PostgresTarget {
  return { kind: "postgres", connection: databaseUrl(url), poolSize };
}
