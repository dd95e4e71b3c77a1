/**
 * CLI. The commands of this package. Each file is one command, or a part of one. A command prints its result on
 * standard output, and everything else on standard error.
 *
 *   bootstrap.ts          makes the first operator
 *   demo.ts               shows the main calls against a development service
 *   migrate.ts            applies the schema, shows what it would apply, and what is applied
 *   schema-report.ts      the texts that migrate.ts shows
 *   master-keys.ts        shows which master keys are still needed
 *   master-key-report.ts  the facts that master-keys.ts shows
 */

/*
 * `npm run --silent bootstrap`, with the environment of the service: makes the first operator. It prints the admin
 * credential, and nothing else, on standard output. On standard error it names the database that the credential belongs
 * to. `--force` is the break-glass for the case that every admin credential is lost.
 */
import { ConfigError, readConfig } from "../config/config.ts";
import { bootstrap, databaseName } from "../start/first-operator.ts";

const EXIT_FAILED = 1;
const EXIT_USAGE = 64;

const flags = process.argv.slice(2);
if (flags.some((flag) => flag !== "--force")) {
  process.stderr.write("usage: npm run --silent bootstrap [-- --force]\n");
  process.exit(EXIT_USAGE);
}
try {
  const config = readConfig(process.env);
  const secret = await bootstrap(config, flags.includes("--force"));
  if (secret === undefined) {
    process.stderr.write(
      `latchkey: ${databaseName(config)} already has a usable admin credential; use it, or if it is lost, run: ` +
        "npm run --silent bootstrap -- --force\n",
    );
    process.exitCode = EXIT_FAILED;
  } else {
    process.stderr.write(`latchkey: made an admin credential for ${databaseName(config)}\n`);
    process.stdout.write(`${secret}\n`);
  }
} catch (error) {
  const faults = error instanceof ConfigError ? error.faults : [(error as Error).message];
  for (const fault of faults) process.stderr.write(`latchkey: ${fault}\n`);
  process.exitCode = EXIT_FAILED;
}
