import type { ClientHttp2Session } from "node:http2";
import { setTimeout as pause } from "node:timers/promises";
import { call, connectAll, type Rpc } from "./call.ts";

const CHECK_EVERY_MS = 20;

/**
 * Makes calls beside the work of h2load, and checks their answers. h2load itself counts HTTP 200 as success, even if a
 * trailer says otherwise.
 *
 * @returns the result of the work, and the number of calls that were made beside it
 * @throws Error for the first wrong answer
 */
export async function withChecks<T>(
  port: number,
  rpc: Rpc,
  work: () => Promise<T>,
): Promise<{ readonly checks: number; readonly result: T }> {
  const [session] = await connectAll(port, 1);
  const checker = new Checker(session!, rpc);
  try {
    const result = await work();
    return { checks: await checker.stop(), result };
  } finally {
    session!.close();
  }
}

class Checker {
  #calls = 0;
  #isOver = false;
  readonly #done: Promise<void>;

  constructor(session: ClientHttp2Session, rpc: Rpc) {
    this.#done = this.#loop(session, rpc);
    // `stop` reports a rejection.
    this.#done.catch(() => {});
  }

  /** Ends the checks. @returns the number of calls. @throws Error for the first wrong answer */
  async stop(): Promise<number> {
    this.#isOver = true;
    await this.#done;
    return this.#calls;
  }

  async #loop(session: ClientHttp2Session, rpc: Rpc): Promise<void> {
    do {
      await call(session, rpc);
      this.#calls++;
      await pause(CHECK_EVERY_MS);
    } while (!this.#isOver);
  }
}
