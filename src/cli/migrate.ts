/**
 * `npm run --silent migrate`, with the environment of the service: applies the schema without a start. `-- --dry-run`
 * prints the statements that would run, `-- status` what is applied and what is pending; both write nothing. `--json`
 * is for machines. It prints no secrets.
 */
import { type Config, ConfigError, readConfig } from "../config/config.ts";
import { systemClock } from "../lib/clock.ts";
import { createCommandLog } from "../lib/log.ts";
import { openDataFolder } from "../start/data-folder.ts";
import { migrateDatabase } from "../start/prepared-database.ts";
import { dryRun, lookAtSchema, STATUS_EXIT, standingOf, statusJson, statusText } from "./schema-report.ts";

const EXIT_FAILED = 1;
const EXIT_USAGE = 64;
/** How long it waits for an unreachable database or a lock, as a start does. */
const WAIT_MS = 60_000;

const words = process.argv.slice(2);
const isJson = words.includes("--json");
const [verb = "apply", ...others] = words.filter((word) => word !== "--json");
const isKnown = ["apply", "status", "--dry-run"].includes(verb) && others.length === 0;
if (!isKnown || words.includes("apply") || new Set(words).size < words.length) {
  process.stderr.write("usage: npm run --silent migrate [-- [status | --dry-run] [--json]]\n");
  process.exit(EXIT_USAGE);
}
try {
  const config = readConfig(process.env);
  if (verb === "status") await status(config);
  else if (verb === "--dry-run") {
    process.stdout.write(await lookAtSchema(config, (database) => dryRun(database, isJson)));
  } else await apply(config);
} catch (error) {
  const faults = error instanceof ConfigError ? error.faults : [(error as Error).message];
  for (const fault of faults) process.stderr.write(`latchkey: ${fault}\n`);
  process.exitCode = EXIT_FAILED;
}

async function status(config: Config): Promise<void> {
  const state = await lookAtSchema(config, (database) => database.schema());
  process.stdout.write(isJson ? statusJson(state) : statusText(state));
  process.exitCode = STATUS_EXIT[standingOf(state)];
}

/** Each applied migration is a line at once, so that a failure shows what was applied before it. */
async function apply(config: Config): Promise<void> {
  const log = createCommandLog(true);
  if (config.database === undefined) openDataFolder(config, log);
  const applied: string[] = [];
  await migrateDatabase({ config, clock: systemClock, log, waitMs: WAIT_MS }, (name) => {
    applied.push(name);
    if (!isJson) process.stdout.write(`applied ${name}\n`);
  });
  process.stdout.write(isJson ? `${JSON.stringify({ applied }, null, 2)}\n` : "the schema is up to date\n");
}
