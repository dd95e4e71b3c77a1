// Compiles the client's package after `npm ci` where the compiler is there: `--omit=dev` leaves it out, and then the
// service runs as it is. Plain JavaScript, because the Node that installs may be an older one. Prints nothing unless it
// fails.
const { spawnSync } = require("node:child_process");
const { existsSync, rmSync } = require("node:fs");
const { join } = require("node:path");

const root = join(__dirname, "..");
const tsc = join(root, "node_modules/typescript/bin/tsc");
// The compiler itself is an optional package for each platform.
const native = join(root, "node_modules/@typescript", `typescript-${process.platform}-${process.arch}`);
const project = join(root, "client/tsconfig.json");

if ([tsc, native, project].every(existsSync)) {
  rmSync(join(root, "client/dist"), { recursive: true, force: true });
  const { status, stdout, stderr } = spawnSync(process.execPath, [tsc, "--project", project], { encoding: "utf8" });
  if (status !== 0) process.stderr.write(`the build of client/ failed:\n${stdout}${stderr}`);
  process.exitCode = status ?? 1;
}
