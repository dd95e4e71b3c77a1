import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { EXIT, type ExitCode } from "../exit-codes.ts";
import { Fault, usage } from "../faults.ts";
import { yes } from "../flags.ts";
import type { Result } from "../result.ts";
import type { Io } from "../terminal.ts";
import { verb } from "../verb.ts";

/** The folder around this package: a checkout of the repository, or something else. */
const ROOT = join(import.meta.dirname, "../../..");
const SERVICE = "@latchkey/service";
/** The exit code for wrong usage of the service's own scripts. */
const SCRIPT_USAGE = 64;

const WHERE = "It runs the service's own script, so it works in a checkout, with the service's environment.";

export const bootstrap = verb({
  name: "bootstrap",
  about: "Make the first operator, and print its credential",
  more: WHERE,
  examples: ["bootstrap > admin-credential", "bootstrap --force"],
  flags: { force: yes("also where an admin credential exists: for the case that all are lost") },
  run: async ({ io }, { flags: { force } }) => script("bootstrap", force ? ["--force"] : [], io),
});

export const masterKeys = verb({
  name: "master-keys",
  about: "Show which master keys the stored data still needs",
  more: WHERE,
  examples: ["master-keys"],
  flags: {},
  run: async ({ io }) => script("master-keys", [], io),
});

export const migrate = verb({
  name: "migrate",
  about: "Apply the schema to the service's database, apart from a start",
  more:
    `${WHERE} The argument status, and --dry-run, write nothing. ` +
    "status ends with 1 unless the schema is up to date; --json tells scripts why.",
  examples: ["migrate status", "migrate --dry-run > pending.sql", "migrate"],
  args: [{ name: "status", about: "show what is applied and what is pending", isOptional: true, choices: ["status"] }],
  flags: { dryRun: yes("print the statements that would run, as a script for psql") },
  async run({ io, flags: { format } }, { args: [what], flags: { dryRun = false } }) {
    if (what !== undefined && (what !== "status" || dryRun)) {
      throw usage("migrate takes either status or --dry-run; see: latchkey migrate --help");
    }
    const words = [...(what === undefined ? [] : [what]), ...(dryRun ? ["--dry-run"] : [])];
    return script("migrate", [...words, ...(format === "json" ? ["--json"] : [])], io);
  },
});

export const demo = verb({
  name: "demo",
  about: "Show the main calls against a development service",
  more: WHERE,
  examples: ["demo"],
  flags: {},
  run: async ({ io }) => script("demo", [], io),
});

/**
 * The output of a script of the service, as it comes. What the script writes to standard error goes there at once.
 *
 * @param name its name in npm's scripts, and of its file
 * @throws Fault outside of a checkout; with an empty line after a script that failed, because the script said why
 */
function script(name: string, flags: readonly string[], io: Io): Result {
  const file = join(ROOT, `src/cli/${name}.ts`);
  if (!isCheckout() || !existsSync(file)) {
    const where = "run it in a checkout of the service's repository";
    throw new Fault(
      EXIT.FAILED,
      `${name} needs the service's own code and settings; ${where}: npm run --silent ${name}`,
    );
  }
  return { kind: "verbatim", text: outputOf(file, flags, io) };
}

async function* outputOf(file: string, flags: readonly string[], io: Io): AsyncGenerator<string> {
  const own = join(ROOT, "node_modules/.bin/node");
  const child = spawn(
    existsSync(own) ? own : process.execPath,
    ["--require", join(ROOT, "scripts/require-node-24.cjs"), file, ...flags],
    { cwd: ROOT, env: io.env, stdio: ["ignore", "pipe", "pipe"], signal: io.signal, killSignal: "SIGINT" },
  );
  const closed = once(child, "close");
  // A failed start is told by `closed`; a listener that comes later would come too late.
  closed.catch(() => {});
  child.stderr.on("data", (chunk) => void io.stderr.write(chunk));
  child.stdout.setEncoding("utf8");
  try {
    yield* child.stdout;
  } finally {
    // Where the reader has closed the pipe, the script goes on to write, and must not say so.
    child.stderr.destroy();
    if (child.stdout.errored !== null || !child.stdout.readableEnded) child.kill();
  }
  const [code] = await closed;
  if (code !== 0) throw new Fault(exitCodeOf(code), "");
}

function exitCodeOf(code: number | null): ExitCode {
  return code === SCRIPT_USAGE ? EXIT.USAGE : EXIT.FAILED;
}

function isCheckout(): boolean {
  try {
    return JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")).name === SERVICE;
  } catch {
    return false;
  }
}
