import cluster from "node:cluster";
import type { Config } from "./config.ts";
import type { Log } from "./lib/log.ts";
import { startWorkersOpsPort } from "./ops-port.ts";

/** A worker that ends by itself is replaced after so long, so that a fault at the start does not become a busy loop. */
const RESTART_AFTER_MS = 1000;

/**
 * Runs the service in several processes that share its port. The first process answers no call: it starts the others,
 * replaces one that crashed, speaks for all of them on the second port, and passes on the signal to stop.
 *
 * @returns ends the workers and resolves when they are gone
 * @throws Error where the second port can't be opened
 */
export async function runWorkers(
  config: Pick<Config, "workers" | "opsListen">,
  log: Log,
): Promise<() => Promise<void>> {
  let isStopping = false;
  const ops = await startWorkersOpsPort(config, log, () => isStopping);
  // A port 0 has become one that workers can name.
  const fork = () => cluster.fork({ LATCHKEY_OPS_LISTEN: ops.address });
  cluster.on("exit", (worker, code, signal) => {
    if (isStopping) return;
    log.error("a worker ended; starting another one", { pid: worker.process.pid, exit_code: code ?? 0, signal });
    setTimeout(() => isStopping || fork(), RESTART_AFTER_MS).unref();
  });
  for (let n = 0; n < config.workers; n++) fork();
  return async () => {
    isStopping = true;
    const workers = Object.values(cluster.workers ?? {}).filter((worker) => worker !== undefined);
    const gone = workers.map((worker) => new Promise((resolve) => worker.once("exit", resolve)));
    for (const worker of workers) worker.process.kill("SIGTERM");
    await Promise.all(gone);
    await ops.stop();
  };
}
