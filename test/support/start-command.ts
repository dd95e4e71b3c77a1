import { readFileSync } from "node:fs";
import { join } from "node:path";

export interface StartCommand {
  /** Node's flags, without the check of its version, which matters neither to the benchmark nor to the image. */
  readonly flags: readonly string[];
  readonly file: string;
}

/** The command of `npm start`, from package.json. */
export function startCommand(): StartCommand {
  const { scripts } = JSON.parse(readFileSync(join(import.meta.dirname, "../../package.json"), "utf8"));
  const [, words] = /^exec node (.+)$/.exec(scripts.start.replace(/--require \S+ /, ""))!;
  const flags = words!.split(" ");
  const file = flags.pop()!;
  return { flags, file };
}
