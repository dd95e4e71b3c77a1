import cluster, { type Worker } from "node:cluster";
import type { Log } from "../lib/log.ts";

/** Delay before a worker that ended by itself is replaced. It doubles each time a worker ends before it was ready. */
const RESTART_AFTER_MS = 1000;
const MAX_RESTART_AFTER_MS = 30_000;

/** The message of a worker to the first process. */
const READY = "ready";
/** The messages of the first process to a worker. */
const STOP = "stop";
const RELOAD = "reload";

export interface WorkersOptions {
  readonly count: number;
  /** Variables that each worker gets in addition to those of this process. */
  readonly environment: Readonly<Record<string, string>>;
  readonly log: Log;
  /** Called each time a worker becomes ready. */
  onReady(): void;
  /**
   * Called if a worker ended before it was ready, and no earlier worker in its place was ready either. A successor
   * would fail too.
   */
  onFailedStart(exitCode: number): void;
}

/**
 * The processes that share the service's port. The first process answers no call: it starts the workers, replaces those
 * that crash, and tells them to stop. It does so by messages, because a signal may have reached the workers too
 * (Ctrl-C, systemd). To force them, the first process ends: Node.js ends its workers with it.
 */
export class Workers {
  readonly #options: WorkersOptions;
  #isStopping = false;

  /** Starts the workers. */
  constructor(options: WorkersOptions) {
    this.#options = options;
    for (let n = 0; n < options.count; n++) this.#start(false, RESTART_AFTER_MS);
  }

  /** Tells each worker to drain. Resolves when all have ended. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    const workers = Object.values(cluster.workers ?? {}).filter((worker) => worker !== undefined);
    const ended = workers.map((worker) => new Promise((resolve) => worker.once("exit", resolve)));
    for (const worker of workers) tell(worker, STOP);
    await Promise.all(ended);
  }

  /** Tells each worker to read its TLS certificate again. */
  reload(): void {
    for (const worker of Object.values(cluster.workers ?? {})) if (worker !== undefined) tell(worker, RELOAD);
  }

  /** @param hasServed whether this worker replaces one that was ready */
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
      const waitMs = isReady ? RESTART_AFTER_MS : Math.min(2 * restartAfterMs, MAX_RESTART_AFTER_MS);
      log.error("a worker ended; starting another one", {
        pid: worker.process.pid,
        exit_code: code ?? 0,
        signal: signal ?? undefined,
        after_ms: waitMs,
      });
      // The timer keeps this process alive, even if no worker is left.
      setTimeout(() => this.#isStopping || this.#start(true, waitMs), waitMs);
    });
  }
}

/** Tells the first process, from a worker, that this worker is ready. */
export function tellReady(): void {
  process.send?.(READY);
}

/** Calls back, in a worker, when the first process tells it to stop or to reload. */
export function onTold(told: { readonly stop: () => void; readonly reload: () => void }): void {
  process.on("message", (message) => {
    if (message === STOP) told.stop();
    if (message === RELOAD) told.reload();
  });
}

/** A worker that is ending has no channel any longer, and needs no message. */
function tell(worker: Worker, message: typeof STOP | typeof RELOAD): void {
  if (worker.isConnected()) worker.send(message, () => {});
}
