// Compiles the client's package after `npm ci` where the compiler is there: `--omit=dev` leaves it out, and then the
// service runs as it is. Plain JavaScript, because the Node that installs may be an older one. Prints nothing unless it
// fails.
const { spawnSync } = require("node:child_process");
const { existsSync, readdirSync, readFileSync, rmSync } = require("node:fs");
const { dirname, join } = require("node:path");

const root = join(__dirname, "..");
const client = join(root, "client");
const tsc = join(root, "node_modules/typescript/bin/tsc");
// The compiler itself is an optional package for each platform.
const native = join(root, "node_modules/@typescript", `typescript-${process.platform}-${process.arch}`);
const project = join(client, "tsconfig.json");

if ([tsc, native, project].every(existsSync)) {
  rmSync(join(client, "dist"), { recursive: true, force: true });
  const { status, stdout, stderr } = spawnSync(process.execPath, [tsc, "--project", project], { encoding: "utf8" });
  if (status === 0) prune();
  else process.stderr.write(`the build of client/ failed:\n${stdout}${stderr}`);
  process.exitCode = status ?? 1;
}

// Removes every file that no export reaches: the compiler also writes those that only types were taken from.
function prune() {
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
  const dist = join(client, "dist");
  for (const name of readdirSync(dist, { recursive: true })) {
    const file = join(dist, name);
    if (/\.(js|d\.ts)$/.test(name) && !reached.has(file)) rmSync(file);
  }
}
