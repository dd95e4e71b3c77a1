/**
 * `npm run --silent master-keys`: shows each version of the master key, and the data that is still stored under it. The
 * last line says which versions may be removed now. `-- --json` is for machines. It prints no secrets and writes
 * nothing.
 */
import { ConfigError, readConfig } from "../config/config.ts";
import { type MasterKeyVersion, masterKeyReport, useText } from "./master-key-report.ts";

const EXIT_FAILED = 1;
const EXIT_USAGE = 64;

const CHECKS: Record<MasterKeyVersion["check"], string> = {
  same: "the bytes that this database was used with",
  other: "OTHER BYTES than this database was used with: a start with them is refused",
  not_in_ring: "this database was used with it",
  unknown: "no process has started with it yet",
};

const flags = process.argv.slice(2);
if (flags.some((flag) => flag !== "--json")) {
  process.stderr.write("usage: npm run --silent master-keys [-- --json]\n");
  process.exit(EXIT_USAGE);
}
try {
  const versions = await masterKeyReport(readConfig(process.env));
  process.stdout.write(flags.includes("--json") ? `${jsonOf(versions)}\n` : textOf(versions));
} catch (error) {
  const faults = error instanceof ConfigError ? error.faults : [(error as Error).message];
  for (const fault of faults) process.stderr.write(`latchkey: ${fault}\n`);
  process.exitCode = EXIT_FAILED;
}

function textOf(versions: readonly MasterKeyVersion[]): string {
  const blocks = versions.map((each) => {
    const place = each.isFirst ? "first in the ring" : each.isInRing ? "in the ring" : "NOT IN THE RING";
    const uses = each.uses.map((use) => `  ${useText(use)}\n`);
    return `version ${each.version}: ${place}; ${CHECKS[each.check]}\n${uses.join("")}`;
  });
  return `${blocks.join("")}${lastLine(versions)}\n`;
}

function lastLine(versions: readonly MasterKeyVersion[]): string {
  const mayGo = versions.filter(({ isInRing, reasons }) => isInRing && reasons.length === 0);
  const mustStay = versions.filter(({ isInRing, reasons }) => isInRing && reasons.length > 0);
  const mustReturn = versions.filter(({ isInRing, reasons }) => !isInRing && reasons.length > 0);
  const named = (each: MasterKeyVersion) => `${each.version} (${each.reasons.join(", ")})`;
  return [
    `may be removed: ${mayGo.map(({ version }) => version).join(", ") || "none"}`,
    `must stay: ${mustStay.map(named).join(", ")}`,
    ...(mustReturn.length === 0 ? [] : [`MISSING: ${mustReturn.map(named).join(", ")}`]),
  ].join("; ");
}

function jsonOf(versions: readonly MasterKeyVersion[]): string {
  const plain = versions.map((each) => ({
    version: each.version,
    in_ring: each.isInRing,
    first: each.isFirst,
    check: each.check,
    uses: each.uses.map(({ use, count, endsAtMs }) => ({
      use,
      count,
      end_time: endsAtMs === undefined ? null : new Date(endsAtMs).toISOString(),
    })),
    may_be_removed: each.isInRing && each.reasons.length === 0,
    reasons: each.reasons,
  }));
  return JSON.stringify({ versions: plain }, null, 2);
}
