import { styled } from "./styles.ts";
import { columnsOf, hasColour, type Io } from "./terminal.ts";
import { cutTo } from "./text.ts";

/** Work that is done sooner shows nothing. */
const PATIENCE_MS = 2000;
const FRAME_MS = 250;
const FRAMES = ["·  ", "·· ", "···", " ··", "  ·", "   "];

/**
 * A line on standard error while a command waits, on a terminal only. It appears after 2 s, tells what is waited for,
 * and is erased at the end.
 */
export class Progress implements Disposable {
  readonly #io: Io;
  #sinceMs = performance.now();
  #timer: NodeJS.Timeout | undefined;
  #what: string;
  #frame = 0;
  #isShown = false;

  constructor(io: Io, what: string) {
    this.#io = io;
    this.#what = what;
    this.resume();
  }

  /** Shows nothing until `resume`: a question stands on the terminal. */
  pause(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.clear();
  }

  resume(): void {
    this.#sinceMs = performance.now();
    if (this.#io.stderr.isTTY === true) this.#timer ??= setInterval(() => this.#show(), FRAME_MS).unref();
  }

  /** Says how far the work is. */
  tell(what: string): void {
    this.#what = what;
  }

  /** Erases the line, so that something else can be written. It comes back with the next frame. */
  clear(): void {
    if (this.#isShown) this.#io.stderr.write("\r\u001b[2K");
    this.#isShown = false;
  }

  [Symbol.dispose](): void {
    this.pause();
  }

  #show(): void {
    const ms = performance.now() - this.#sinceMs;
    if (ms < PATIENCE_MS) return;
    const { stderr } = this.#io;
    const frame = FRAMES[this.#frame++ % FRAMES.length]!;
    const text = cutTo(`${frame} ${this.#what}, ${Math.floor(ms / 1000)} s`, columnsOf(stderr)! - 1);
    stderr.write(`\r\u001b[2K${styled(text, "faint", hasColour(this.#io, stderr))}`);
    this.#isShown = true;
  }
}
