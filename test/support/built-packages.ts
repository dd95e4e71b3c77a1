/**
 * A global setup of vitest that compiles the packages of client/ and cli/. It runs once before all files, because the
 * build removes what another file may be reading.
 */
import { execFileSync } from "node:child_process";
import { join } from "node:path";

export default function buildPackages(): void {
  execFileSync("node", ["scripts/build-packages.cjs"], { cwd: join(import.meta.dirname, "../..") });
}
