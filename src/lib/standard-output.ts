import { write, writeSync } from "node:fs";

const FD = 1;
/** While nobody reads, so many bytes are kept; further lines are dropped rather than the service stopped. */
const MAX_KEPT_BYTES = 1 << 20;
const TRY_AGAIN_MS = 50;
/** Longest that an exit waits for a reader. */
const FLUSH_MS = 500;

/**
 * Standard output of a process that must not depend on its reader. Lines are written in the background; what can't be
 * written (the reader is gone, the disk is full) is lost, and hurts nobody.
 */
export class StandardOutput {
  #kept: Buffer[] = [];
  #keptBytes = 0;
  #isWriting = false;

  constructor() {
    // Whoever opens it makes a pipe's writes fail when it is full, instead of wait. A write that waits would keep a thread
    // of the pool that hashes passwords, and the end of the process would wait for that thread.
    process.stdout.on("error", () => {});
  }

  write(text: string): void {
    if (this.#keptBytes > MAX_KEPT_BYTES) return;
    this.#keep(Buffer.from(text), "last");
    if (this.#isWriting) return;
    this.#isWriting = true;
    setImmediate(() => this.#writeKept());
  }

  /** Writes what is kept as far as that goes within half a second. What is on its way already arrives by itself. */
  flush(): void {
    let rest = this.#takeAll();
    for (let waitedMs = 0; rest.length > 0 && waitedMs < FLUSH_MS; ) {
      try {
        rest = rest.subarray(writeSync(FD, rest));
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
      if (error === null && written < bytes.length) this.#keep(bytes.subarray(written), "first");
      this.#isWriting = this.#keptBytes > 0;
      if (isFull(error)) setTimeout(() => this.#writeKept(), TRY_AGAIN_MS).unref();
      else if (this.#isWriting) this.#writeKept();
    });
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

function isFull(error: unknown): boolean {
  return (error as NodeJS.ErrnoException | null)?.code === "EAGAIN";
}
