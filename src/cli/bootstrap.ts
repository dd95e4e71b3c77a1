/**
 * `npm run --silent bootstrap`, with the environment of the service: makes the first operator and prints the admin
 * credential, and nothing else, on standard output; on standard error, whose operator it is. `--force` is the break-glass
 * for when every admin credential is lost.
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
      `latchkey: ${databaseName(config)} has a usable admin credential already; use it, or if it is lost run: ` +
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
