import cluster, { type Worker } from "node:cluster";
import type { Log } from "../lib/log.ts";

/** A worker that ends by itself is replaced after so long; each time one ends before it was ready, after twice as long. */
const RESTART_AFTER_MS = 1000;
const RESTART_AFTER_AT_MOST_MS = 30_000;

/** What a worker tells the first process. */
const READY = "ready";
/** What the first process tells a worker. */
const STOP = "stop";
const RELOAD = "reload";

export interface WorkersOptions {
  readonly count: number;
  /** Beside that of this process. */
  readonly environment: Readonly<Record<string, string>>;
  readonly log: Log;
  /** Is called each time that one serves. */
  onReady(): void;
  /** Is told of a worker that ended before it, or another one in its place, was ever ready: its successor would do no better. */
  onFailedStart(exitCode: number): void;
}

/**
 * The processes that share the service's port. The first process answers no call: it starts the others, replaces one that
 * crashed, and tells them to stop. It does so by messages, since a signal may have reached them too (Ctrl-C, systemd);
 * what forces them is the end of the first process, which node lets no worker outlive.
 */
export class Workers {
  readonly #options: WorkersOptions;
  #isStopping = false;

  /** Starts them. */
  constructor(options: WorkersOptions) {
    this.#options = options;
    for (let n = 0; n < options.count; n++) this.#start(false, RESTART_AFTER_MS);
  }

  /** Lets each end what it does. Resolves when all are gone. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    const workers = Object.values(cluster.workers ?? {}).filter((worker) => worker !== undefined);
    const gone = workers.map((worker) => new Promise((resolve) => worker.once("exit", resolve)));
    for (const worker of workers) tell(worker, STOP);
    await Promise.all(gone);
  }

  /** Has each read again what may be replaced while it runs. */
  reload(): void {
    for (const worker of Object.values(cluster.workers ?? {})) if (worker !== undefined) tell(worker, RELOAD);
  }

  /** @param hasServed whether this worker is in the place of one that was ready */
  #start(hasServed: boolean, restartAfterMs: number): void {
    const { environment, log, onReady, onFailedStart } = this.#options;
    const worker = cluster.fork(environment);
    let isReady = false;
    worker.on("message", (message) => {
      if (message !== READY) return;
      isReady = true;
      onReady();
    });
    worker.once("exit", (code: number | null, signal: string | null) => {
      if (this.#isStopping) return;
      if (!isReady && !hasServed) return onFailedStart(code || 1);
      const waitMs = isReady ? RESTART_AFTER_MS : Math.min(2 * restartAfterMs, RESTART_AFTER_AT_MOST_MS);
      log.error("a worker ended; starting another one", {
        pid: worker.process.pid,
        exit_code: code ?? 0,
        signal: signal ?? undefined,
        after_ms: waitMs,
      });
      // Keeps this process alive, also when no worker is left.
      setTimeout(() => this.#isStopping || this.#start(true, waitMs), waitMs);
    });
  }
}

/** In a worker: it serves now. */
export function tellReady(): void {
  process.send?.(READY);
}

/** In a worker: calls back when the first process tells it to stop, or to read again what may be replaced. */
export function onTold(told: { readonly stop: () => void; readonly reload: () => void }): void {
  process.on("message", (message) => {
    if (message === STOP) told.stop();
    if (message === RELOAD) told.reload();
  });
}

/** One that is ending already can't be told, and need not. */
function tell(worker: Worker, message: typeof STOP | typeof RELOAD): void {
  if (worker.isConnected()) worker.send(message, () => {});
}
