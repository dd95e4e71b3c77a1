export interface BackgroundWriterDeps<T> {
  /** Takes the items to write now; all items if `isLast` is true, before the process stops. */
  readonly take: (isLast: boolean) => readonly T[];
  /** Maximum items that one statement writes. */
  readonly chunk: number;
  readonly write: (some: readonly T[]) => Promise<void>;
  /**
   * Called with the items that could not be written, including all that followed in the flush. A later `take` must
   * return them again.
   */
  readonly onFailed: (left: readonly T[]) => void;
  /** Called after each flush, whether all of it was written or not. */
  readonly onFlushed?: () => void;
}

const FLUSH_EVERY_MS = 5000;

/**
 * Writes in the background what verifications noted, so that no verification waits for it. It writes every 5 s, and
 * once more when the process stops. One flush runs at a time. No method rejects.
 */
export class BackgroundWriter<T> {
  readonly #deps: BackgroundWriterDeps<T>;
  #timer: NodeJS.Timeout | undefined;
  #flushing: Promise<void> = Promise.resolve();
  #failures = 0;

  constructor(deps: BackgroundWriterDeps<T>) {
    this.#deps = deps;
  }

  /** Number of flushes since the start that could not write everything. */
  get failures(): number {
    return this.#failures;
  }

  start(): void {
    this.#timer = setInterval(() => void this.flush(), FLUSH_EVERY_MS);
    this.#timer.unref();
  }

  flush(isLast = false): Promise<void> {
    this.#flushing = this.#flushing.then(() => this.#write(this.#deps.take(isLast)));
    return this.#flushing;
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.flush(true);
  }

  async #write(taken: readonly T[]): Promise<void> {
    const { chunk, write, onFailed, onFlushed } = this.#deps;
    let from = 0;
    try {
      for (; from < taken.length; from += chunk) await write(taken.slice(from, from + chunk));
    } catch {
      this.#failures++;
      onFailed(taken.slice(from));
    }
    onFlushed?.();
  }
}
