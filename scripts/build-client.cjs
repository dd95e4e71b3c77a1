// Compiles the client's package after `npm ci` where the compiler is there: `--omit=dev` leaves it out, and then the
// service runs as it is. Plain JavaScript, because the Node that installs may be an older one. Prints nothing unless it
// fails.
const { spawnSync } = require("node:child_process");
const { existsSync, rmSync } = require("node:fs");
const { join } = require("node:path");

const client = join(__dirname, "..", "client");

function compiler() {
  try {
    // The native compiler is an optional package of its own.
    require.resolve(`@typescript/typescript-${process.platform}-${process.arch}/package.json`);
    return require.resolve("typescript/bin/tsc");
  } catch {
    return undefined;
  }
}

const tsc = compiler();
if (tsc !== undefined && existsSync(join(client, "tsconfig.json"))) {
  rmSync(join(client, "dist"), { recursive: true, force: true });
  const { status, stdout, stderr } = spawnSync(process.execPath, [tsc, "--project", join(client, "tsconfig.json")], {
    encoding: "utf8",
  });
  if (status !== 0) process.stderr.write(`the build of client/ failed:\n${stdout}${stderr}`);
  process.exitCode = status ?? 1;
}
