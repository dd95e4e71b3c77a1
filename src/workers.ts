import cluster from "node:cluster";
import type { Log } from "./lib/log.ts";

/** A worker that ends by itself is replaced after so long, so that a fault at the start does not become a busy loop. */
const RESTART_AFTER_MS = 1000;

/**
 * Runs the service in several processes that share its ports. The first process serves nothing: it starts the others,
 * replaces one that crashed, and passes on the signal to stop.
 *
 * @returns ends the workers and resolves when they are gone
 */
export function runWorkers(count: number, log: Log): () => Promise<void> {
  let isStopping = false;
  cluster.on("exit", (worker, code, signal) => {
    if (isStopping) return;
    log.error("a worker ended; starting another one", { pid: worker.process.pid, exit_code: code ?? 0, signal });
    setTimeout(() => isStopping || cluster.fork(), RESTART_AFTER_MS).unref();
  });
  for (let n = 0; n < count; n++) cluster.fork();
  return async () => {
    isStopping = true;
    const workers = Object.values(cluster.workers ?? {}).filter((worker) => worker !== undefined);
    const gone = workers.map((worker) => new Promise((resolve) => worker.once("exit", resolve)));
    for (const worker of workers) worker.process.kill("SIGTERM");
    await Promise.all(gone);
  };
}
