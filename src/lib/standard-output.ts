import { write, writeSync } from "node:fs";

const FD = 1;
/** Maximum bytes kept while the pipe has no reader. Beyond it, lines are dropped, so that the service goes on. */
const MAX_KEPT_BYTES = 1 << 20;
const TRY_AGAIN_MS = 50;
/** Maximum time that an exit waits for the reader. */
const FLUSH_MS = 500;

/**
 * The standard output of a process that must not depend on its reader. It writes lines in the background. Lines that
 * can't be written, because the reader is gone or the disk is full, are lost without an error.
 */
export class StandardOutput {
  static #shared: StandardOutput | undefined;

  /** The one of this process: with two of them, lines could mix. */
  static shared(): StandardOutput {
    StandardOutput.#shared ??= new StandardOutput();
    return StandardOutput.#shared;
  }

  #kept: Buffer[] = [];
  #keptBytes = 0;
  #isWriting = false;
  #dropped = 0;
  /** Bytes that were kept since the start, and bytes of them that are written. */
  #takenBytes = 0;
  #writtenBytes = 0;
  #waiting: Waiter[] = [];

  private constructor() {
    // Opening `process.stdout` makes writes to a full pipe fail instead of block. A blocked write would hold a thread
    // of the pool that hashes passwords, and the exit of the process would wait for that thread.
    process.stdout.on("error", () => {});
  }

  write(text: string): void {
    if (this.#keptBytes <= MAX_KEPT_BYTES) this.#add(text);
    else this.#dropped++;
  }

  /**
   * Writes lines that must not be dropped, however long the reader takes. The caller bounds their size.
   *
   * @returns a promise that resolves when they are written
   * @throws the error of the write, in which case some of the text may be written
   */
  writeSurely(text: string): Promise<void> {
    this.#add(text);
    return new Promise((resolve, reject) => {
      this.#waiting.push({ untilBytes: this.#takenBytes, resolve, reject });
    });
  }

  #add(text: string): void {
    const bytes = Buffer.from(text);
    this.#takenBytes += bytes.length;
    this.#keep(bytes, "last");
    if (this.#isWriting) return;
    this.#isWriting = true;
    setImmediate(() => this.#writeKept());
  }

  /** Number of lines that were lost since the start: MAX_KEPT_BYTES were kept, or a write failed. */
  get dropped(): number {
    return this.#dropped;
  }

  /** Writes the kept lines for at most FLUSH_MS. A write that is under way already completes by itself. */
  flush(): void {
    let rest = this.#takeAll();
    for (let waitedMs = 0; rest.length > 0 && waitedMs < FLUSH_MS; ) {
      try {
        const written = writeSync(FD, rest);
        this.#wrote(written);
        rest = rest.subarray(written);
      } catch (error) {
        if (!isFull(error)) return;
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, TRY_AGAIN_MS);
        waitedMs += TRY_AGAIN_MS;
      }
    }
  }

  #writeKept(): void {
    const bytes = this.#takeAll();
    write(FD, bytes, (error, written) => {
      if (isFull(error)) this.#keep(bytes, "first");
      else this.#wrote(error === null ? written : bytes.length, error);
      if (error !== null && !isFull(error)) this.#dropped += linesIn(bytes);
      if (error === null && written < bytes.length) this.#keep(bytes.subarray(written), "first");
      this.#isWriting = this.#keptBytes > 0;
      if (isFull(error)) setTimeout(() => this.#writeKept(), TRY_AGAIN_MS).unref();
      else if (this.#isWriting) this.#writeKept();
    });
  }

  /** Settles the waiters for these bytes: written, or dropped because of the error. */
  #wrote(bytes: number, error: Error | null = null): void {
    this.#writtenBytes += bytes;
    while (this.#waiting.length > 0 && this.#waiting[0]!.untilBytes <= this.#writtenBytes) {
      const { resolve, reject } = this.#waiting.shift()!;
      if (error === null) resolve();
      else reject(error);
    }
  }

  #keep(bytes: Buffer, where: "first" | "last"): void {
    if (where === "last") this.#kept.push(bytes);
    else this.#kept.unshift(bytes);
    this.#keptBytes += bytes.length;
  }

  #takeAll(): Buffer {
    const all = Buffer.concat(this.#kept);
    this.#kept = [];
    this.#keptBytes = 0;
    return all;
  }
}

function linesIn(bytes: Buffer): number {
  return bytes.toString("latin1").split("\n").length - 1;
}

/** A caller that waits until this number of bytes is written. */
interface Waiter {
  readonly untilBytes: number;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

function isFull(error: unknown): boolean {
  return (error as NodeJS.ErrnoException | null)?.code === "EAGAIN";
}
