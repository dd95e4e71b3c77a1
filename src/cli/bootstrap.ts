/**
 * `npm run --silent bootstrap`: makes the first operator and prints the admin credential, and nothing else, on standard
 * output. `--force` is the break-glass for when every admin credential is lost.
 */
import { DatabaseClock } from "../changes/database-clock.ts";
import { ConfigError, readConfig } from "../config.ts";
import { bootstrapOperator } from "../keys/bootstrap-operator.ts";
import { systemClock } from "../lib/clock.ts";
import { createLog } from "../lib/log.ts";
import { loadMasterKeys } from "../master-keys.ts";
import { PostgresKeyStore } from "../postgres/key-store.ts";
import { openPreparedDatabase } from "../prepared-database.ts";

const DATABASE_WAIT_MS = 60_000;
const EXIT_FAILED = 1;
const EXIT_USAGE = 64;

const flags = process.argv.slice(2);
if (flags.some((flag) => flag !== "--force")) {
  process.stderr.write("usage: npm run --silent bootstrap [-- --force]\n");
  process.exit(EXIT_USAGE);
}
try {
  const secret = await bootstrap(flags.includes("--force"));
  if (secret === undefined) {
    process.stderr.write(
      "latchkey: a usable admin credential exists already; use it, or run `npm run --silent bootstrap -- --force` if it is lost\n",
    );
    process.exitCode = EXIT_FAILED;
  } else {
    process.stdout.write(`${secret}\n`);
  }
} catch (error) {
  const faults = error instanceof ConfigError ? error.faults : [(error as Error).message];
  for (const fault of faults) process.stderr.write(`latchkey: ${fault}\n`);
  process.exitCode = EXIT_FAILED;
}

async function bootstrap(force: boolean): Promise<string | undefined> {
  const config = readConfig(process.env);
  const ring = loadMasterKeys(config);
  const database = await openPreparedDatabase({
    config,
    ring,
    clock: systemClock,
    log: createLog("silent"),
    waitMs: DATABASE_WAIT_MS,
  });
  try {
    const made = await database.exclusively(() =>
      bootstrapOperator(
        {
          store: new PostgresKeyStore(database),
          ring,
          format: { prefix: config.keyPrefix, environments: config.environments },
          databaseClock: new DatabaseClock(systemClock),
        },
        { force },
      ),
    );
    return made?.secret;
  } finally {
    await database.close();
  }
}
