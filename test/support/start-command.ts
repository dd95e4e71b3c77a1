import { readFileSync } from "node:fs";
import { join } from "node:path";

export interface StartCommand {
  /** Node's flags, except the check of its version, which needs no performance and no image. */
  readonly flags: readonly string[];
  readonly file: string;
}

/** The command of `npm start`. */
export function startCommand(): StartCommand {
  const { scripts } = JSON.parse(readFileSync(join(import.meta.dirname, "../../package.json"), "utf8"));
  const [, words] = /^exec node (.+)$/.exec(scripts.start.replace(/--require \S+ /, ""))!;
  const flags = words!.split(" ");
  const file = flags.pop()!;
  return { flags, file };
}
