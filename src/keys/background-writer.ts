export interface BackgroundWriterDeps<T> {
  /** Takes what is to be written now; with `isLast` all there is. */
  readonly take: (isLast: boolean) => readonly T[];
  /** Most that one statement writes. */
  readonly chunk: number;
  readonly write: (some: readonly T[]) => Promise<void>;
  /** These could not be written, so nothing else of that flush was: they are to be taken again. */
  readonly onFailed: (left: readonly T[]) => void;
  /** A flush is over, whether all of it was written or not. */
  readonly onFlushed?: () => void;
}

const FLUSH_EVERY_MS = 5000;

/**
 * Writes every few seconds what verifications leave behind, never on their path, and once more when the process stops.
 * One flush at a time; none ever rejects.
 */
export class BackgroundWriter<T> {
  readonly #deps: BackgroundWriterDeps<T>;
  #timer: NodeJS.Timeout | undefined;
  #flushing: Promise<void> = Promise.resolve();

  constructor(deps: BackgroundWriterDeps<T>) {
    this.#deps = deps;
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
      onFailed(taken.slice(from));
    }
    onFlushed?.();
  }
}
