import type { ClientHttp2Session } from "node:http2";
import { setTimeout as pause } from "node:timers/promises";
import { call, connectAll, type Rpc } from "./call.ts";

const CHECK_EVERY_MS = 20;

/**
 * h2load counts HTTP 200 as success, also where a trailer says otherwise. So while it works, some calls are made beside
 * it and read.
 *
 * @returns what the work gives, and how many calls were made beside it
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
    // Reported by stop().
    this.#done.catch(() => {});
  }

  /** How many calls were made. @throws Error for the first wrong answer */
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
