import { setTimeout as pause } from "node:timers/promises";
import { Code, ConnectError } from "@connectrpc/connect";
import type { Invocation } from "./invocation.ts";

/** The pause before an attempt is up to this, and doubles with each failure in a row (full jitter). */
const FIRST_PAUSE_MS = 200;
const LONGEST_PAUSE_MS = 5000;
/** Failures of the way to the service, or of the service for a while. Others stay. */
const PASSING: ReadonlySet<Code> = new Set([
  ...[Code.Unavailable, Code.DeadlineExceeded, Code.Unknown, Code.Internal, Code.Aborted, Code.Canceled],
  Code.ResourceExhausted,
]);

/**
 * The failures of a command that runs until ctrl-c. It ends with the first failure if the service never answered, and
 * with one that does not pass. After others it tries again, and tells on standard error when an outage begins and ends.
 */
export class Outage {
  readonly #invocation: Invocation;
  #hadAnswer = false;
  #failures = 0;

  constructor(invocation: Invocation) {
    this.#invocation = invocation;
  }

  /** The service answered. */
  over(): void {
    if (this.#failures > 0) this.#tell(`${this.#invocation.settings.address} answers again`);
    this.#failures = 0;
    this.#hadAnswer = true;
  }

  /** Waits for the next attempt. @throws the error itself, if no attempt follows */
  async wait(error: unknown): Promise<void> {
    const { io, settings } = this.#invocation;
    io.signal.throwIfAborted();
    const passes = error instanceof ConnectError && PASSING.has(error.code);
    if (!passes || !this.#hadAnswer) throw error;
    if (this.#failures === 0) this.#tell(`${settings.address} does not answer; trying again until ctrl-c`);
    const longestMs = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** this.#failures++);
    await pause(Math.random() * longestMs, undefined, { signal: io.signal });
  }

  #tell(line: string): void {
    this.#invocation.progress.tell("waiting for the service");
    this.#invocation.progress.clear();
    this.#invocation.io.stderr.write(`latchkey: ${line}\n`);
  }
}
