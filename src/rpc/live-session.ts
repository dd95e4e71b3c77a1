import type { ServerHttp2Session } from "node:http2";

/** A session that is silent so long is asked with a PING. */
const SILENT_MS = 30_000;
const PING_ANSWER_MS = 10_000;
/** After so many silent turns without a stream a session is closed. */
const IDLE_TURNS = 10;

/** One HTTP/2 connection: closed when nobody uses it or its other end is gone, and drained without losing a call. */
export class LiveSession {
  readonly #session: ServerHttp2Session;
  #openStreams = 0;
  #idleTurns = 0;

  constructor(session: ServerHttp2Session) {
    this.#session = session;
    session.setTimeout(SILENT_MS);
    session.on("timeout", () => this.#onSilence());
    session.on("stream", (stream) => {
      this.#openStreams++;
      this.#idleTurns = 0;
      stream.on("close", () => this.#openStreams--);
    });
  }

  /**
   * Says GOAWAY with the last stream that was taken, and closes when all streams have ended. A stream that crosses it
   * on its way is refused on the client's side, as one that was never begun, so gRPC clients send it elsewhere by
   * themselves. (The two GOAWAYs of RFC 9113, 6.8, can't be had from node: nghttp2 ignores streams after the first.)
   */
  drain(): void {
    if (!this.#session.closed && !this.#session.destroyed) this.#session.close();
  }

  destroy(): void {
    this.#session.destroy();
  }

  #onSilence(): void {
    if (this.#session.closed || this.#session.destroyed) return;
    if (this.#openStreams === 0 && ++this.#idleTurns > IDLE_TURNS) {
      this.#session.close();
      return;
    }
    const timer = setTimeout(() => this.destroy(), PING_ANSWER_MS);
    const stop = () => clearTimeout(timer);
    this.#session.once("close", stop);
    const isSent = this.#session.ping(() => {
      stop();
      this.#session.off("close", stop);
      this.#session.setTimeout(SILENT_MS);
    });
    if (!isSent) stop();
  }
}
