/**
 * `npm run bench:propagation`: how long a revoked key is still accepted. It revokes 1,000 keys and draws
 * docs/propagation.svg. It needs PostgreSQL and about three minutes.
 *
 *   npm run bench:propagation -- --times 50 --out /tmp/picture.svg
 *
 * The exit code is 1 if a key was accepted after the bound.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { hasPostgres } from "../test/support/own-postgres.ts";
import { propagationPicture } from "./propagation-picture.ts";
import { measureRevocations } from "./revocations.ts";
import { quantile } from "./rounds.ts";

const { values: flags } = parseArgs({
  options: {
    times: { type: "string", default: "1000" },
    out: { type: "string", default: join(import.meta.dirname, "../docs/propagation.svg") },
  },
});
const times = Number(flags.times);

if (!hasPostgres()) {
  process.stderr.write("bench: PostgreSQL is not installed\n");
  process.exitCode = 1;
} else {
  const series = await measureRevocations(times, (line) => process.stderr.write(`${line}\n`));
  writeFileSync(
    flags.out,
    propagationPicture(`A revoked key is refused: ${times.toLocaleString("en-US")} times`, series),
  );
  for (const { name, tookMs } of series) {
    const figures = [0.5, 0.9, 0.99, 1].map((share) => `${quantile(tookMs, share).toFixed(1)} ms`);
    process.stdout.write(`${name}: p50 ${figures[0]}, p90 ${figures[1]}, p99 ${figures[2]}, max ${figures[3]}\n`);
  }
  process.stdout.write(`${flags.out}\n`);
}
