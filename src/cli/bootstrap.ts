/**
 * `npm run --silent bootstrap`: makes the first operator and prints the admin credential, and nothing else, on standard
 * output. `--force` is the break-glass for when every admin credential is lost.
 */
import { ConfigError, readConfig } from "../config.ts";
import { bootstrap } from "../first-operator.ts";

const EXIT_FAILED = 1;
const EXIT_USAGE = 64;

const flags = process.argv.slice(2);
if (flags.some((flag) => flag !== "--force")) {
  process.stderr.write("usage: npm run --silent bootstrap [-- --force]\n");
  process.exit(EXIT_USAGE);
}
try {
  const secret = await bootstrap(readConfig(process.env), flags.includes("--force"));
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
