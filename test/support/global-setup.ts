/** Once a run: starts the servers that this machine has, applies the schema once, and tells the tests where all is. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestProject } from "vitest/node";
import { Database, type DatabaseTarget } from "../../src/postgres/database.ts";
import { POSTGRES_TEMPLATE, postgresTarget } from "./database.ts";
import { startPostgres } from "./own-postgres.ts";
import { startRedis } from "./own-redis.ts";
import { canStart, missingServersLine, type ServerKind } from "./shared-servers.ts";

export default async function setup(project: Pick<TestProject, "provide">): Promise<() => Promise<void>> {
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
  project.provide("embeddedTemplate", embeddedTemplate);
  project.provide("postgresUrl", postgres?.url() ?? null);
  project.provide("redisUrl", redis?.url ?? null);
  return async () => {
    await Promise.all([postgres?.stop(), redis?.stop(), rm(embeddedTemplate, { recursive: true, force: true })]);
  };
}

async function applySchema(target: DatabaseTarget): Promise<void> {
  const database = await Database.open({ target });
  await database.migrate();
  await database.close();
}
