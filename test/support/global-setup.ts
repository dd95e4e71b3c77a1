/** Starts the servers of a test run, makes a template database with the schema on each, and provides their URLs. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ProvidedContext } from "vitest";
import type { TestProject } from "vitest/node";
import { Database, type DatabaseTarget } from "../../src/postgres/database.ts";
import { POSTGRES_TEMPLATE, postgresTarget } from "./database.ts";
import { startPostgres } from "./own-postgres.ts";
import { startRedis } from "./own-redis.ts";
import { canStart, missingServersLine, type ServerKind } from "./shared-servers.ts";

export type Provide = <Key extends keyof ProvidedContext>(key: Key, value: ProvidedContext[Key]) => void;

/** Vitest calls this for each project of a run. The first project starts the servers for all of them. */
export default async function setup({ vitest }: TestProject): Promise<(() => Promise<void>) | undefined> {
  if ("embeddedTemplate" in vitest.getProvidedContext()) return undefined;
  return startServers((key, value) => vitest.provide(key, value));
}

/** @returns a function that stops the servers and removes the templates */
export async function startServers(provide: Provide): Promise<() => Promise<void>> {
  const missing = (["postgres", "redis", "pgbouncer"] as ServerKind[]).filter((kind) => !canStart(kind));
  process.stderr.write(missingServersLine(missing) ?? "");
  const embeddedTemplate = await mkdtemp(join(tmpdir(), "latchkey-template-"));
  const [postgres, redis] = await Promise.all([
    missing.includes("postgres") ? undefined : startPostgres(),
    missing.includes("redis") ? undefined : startRedis(),
    applySchema({ kind: "embedded", folder: embeddedTemplate }),
  ]);
  if (postgres !== undefined) {
    const url = await postgres.createDatabase(POSTGRES_TEMPLATE);
    await applySchema(postgresTarget(url, 2));
  }
  provide("embeddedTemplate", embeddedTemplate);
  provide("postgresUrl", postgres?.url() ?? null);
  provide("redisUrl", redis?.url ?? null);
  return async () => {
    await Promise.all([postgres?.stop(), redis?.stop(), rm(embeddedTemplate, { recursive: true, force: true })]);
  };
}

async function applySchema(target: DatabaseTarget): Promise<void> {
  const database = await Database.open({ target });
  await database.migrate();
  await database.close();
}
