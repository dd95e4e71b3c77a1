// Compiles the packages of client/ and cli/ after `npm ci` where the compiler is there: `--omit=dev` leaves it out, and
// then the service runs as it is. Plain JavaScript, because the Node that installs may be an older one. Prints nothing
// unless it fails.
const { spawnSync } = require("node:child_process");
const { existsSync, readdirSync, readFileSync, rmSync } = require("node:fs");
const { dirname, join } = require("node:path");

const root = join(__dirname, "..");
const tsc = join(root, "node_modules/typescript/bin/tsc");
// The compiler itself is an optional package for each platform.
const native = join(root, "node_modules/@typescript", `typescript-${process.platform}-${process.arch}`);

// In this order: the command reads the client's types.
if (["client", "cli"].every(build)) prune(join(root, "client"));
else process.exitCode = 1;

/** @returns {boolean} whether it was compiled, or could not be because something is not installed */
function build(name) {
  const folder = join(root, name);
  const project = join(folder, "tsconfig.json");
  if (![tsc, native, project].every(existsSync)) return true;
  rmSync(join(folder, "dist"), { recursive: true, force: true });
  const { status, stdout, stderr } = spawnSync(process.execPath, [tsc, "--project", project], { encoding: "utf8" });
  if (status !== 0) process.stderr.write(`the build of ${name}/ failed:\n${stdout}${stderr}`);
  return status === 0;
}

// Removes every file that no export reaches: the compiler also writes those that only types were taken from.
function prune(client) {
  const dist = join(client, "dist");
  if (!existsSync(dist)) return;
  const { exports } = JSON.parse(readFileSync(join(client, "package.json"), "utf8"));
  const entries = Object.values(exports).flatMap((entry) => (typeof entry === "string" ? [] : Object.values(entry)));
  const reached = new Set();
  const visit = (file) => {
    if (reached.has(file) || !existsSync(file)) return;
    reached.add(file);
    const isTypes = file.endsWith(".d.ts");
    for (const [, source] of readFileSync(file, "utf8").matchAll(/(?:from |import |import\()"(\.[^"]+)"/g)) {
      visit(join(dirname(file), isTypes ? source.replace(/(\.d)?\.[jt]s$/, ".d.ts") : source));
    }
  };
  for (const entry of entries) visit(join(client, entry));
  for (const name of readdirSync(dist, { recursive: true })) {
    const file = join(dist, name);
    if (/\.(js|d\.ts)$/.test(name) && !reached.has(file)) rmSync(file);
  }
}
