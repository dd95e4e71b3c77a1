/** Whether this machine has what a file of this folder needs. */
import { spawnSync } from "node:child_process";

/** A command that succeeds where a tool is there, and how to install the tool. */
export type Tool = readonly [command: readonly string[], advice: string];

/**
 * Whether every tool is there, for `describe.skipIf(!hasTools(...))`. If not, the run says so in one line.
 *
 * @throws Error in CI if one is missing
 */
export function hasTools(...tools: readonly Tool[]): boolean {
  const missing = tools.filter(([command]) => !succeeds(command));
  if (missing.length === 0) return true;
  const line = missing.map(([command, advice]) => `\`${command.join(" ")}\` fails: ${advice}`).join("\n");
  if (process.env.CI) throw new Error(line);
  process.stderr.write(`SKIPPED: ${line}\n`);
  return false;
}

function succeeds([program, ...args]: readonly string[]): boolean {
  return spawnSync(program!, args, { stdio: "ignore" }).status === 0;
}
