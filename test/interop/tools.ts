/** Whether this machine has what a file of this folder needs. */
import { spawnSync } from "node:child_process";

/** Command that shows that a tool is there -> how to install the tool. */
export type Tools = Readonly<Record<string, string>>;

/**
 * Whether every tool is there, for `describe.skipIf(!hasTools(...))`. If not, the run says so in one line.
 *
 * @throws Error in CI if one is missing
 */
export function hasTools(tools: Tools): boolean {
  const missing = Object.entries(tools).filter(([command]) => !succeeds(command));
  if (missing.length === 0) return true;
  const line = missing.map(([command, advice]) => `\`${command}\` fails; ${advice}`).join("\n");
  if (process.env.CI) throw new Error(line);
  process.stderr.write(`SKIPPED: ${line}\n`);
  return false;
}

function succeeds(command: string): boolean {
  const [program, ...args] = command.split(" ");
  return spawnSync(program!, args, { stdio: "ignore" }).status === 0;
}
