import { spawn } from "node:child_process";
import { once } from "node:events";

/** Runs a command of `src/cli/` to its end, with these settings and the environment except its DATABASE_URL. */
export async function runCli(name: string, settings: Readonly<Record<string, string>>, ...flags: readonly string[]) {
  const { DATABASE_URL, ...inherited } = process.env;
  const child = spawn(process.execPath, [`src/cli/${name}.ts`, ...flags], { env: { ...inherited, ...settings } });
  const output = { stdout: "", stderr: "" };
  for (const stream of ["stdout", "stderr"] as const) child[stream].on("data", (chunk) => (output[stream] += chunk));
  const [code] = await once(child, "close");
  return { code: code as number, ...output };
}
