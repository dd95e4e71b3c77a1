import type { ServerHttp2Session } from "node:http2";

/** A session that is silent so long is asked with a PING. */
const SILENT_MS = 30_000;
const PING_ANSWER_MS = 10_000;
/** After so many silent turns without a stream a session is closed. */
const IDLE_TURNS = 10;

/** The largest stream id: with it a GOAWAY means "soon", and what the client has already sent is still served. */
const ANY_STREAM = 2 ** 31 - 1;

/** One HTTP/2 connection: closed when nobody uses it or its other end is gone, and drained without losing a call. */
export class LiveSession {
  readonly #session: ServerHttp2Session;
  #openStreams = 0;
  #idleTurns = 0;
  #draining = false;

  constructor(session: ServerHttp2Session) {
    this.#session = session;
    session.setTimeout(SILENT_MS);
    session.on("timeout", () => this.#onSilence());
    session.on("stream", (stream) => {
      this.#openStreams++;
      this.#idleTurns = 0;
      stream.on("close", () => {
        this.#openStreams--;
        if (this.#draining && this.#openStreams === 0) this.#close();
      });
    });
  }

  /**
   * Says GOAWAY, and closes when the last stream has ended. With streams open it is said twice (RFC 9113, 6.8): first
   * that the end is near, then, one round trip later, when the client can have sent no more streams without knowing,
   * which stream was the last. Without any it is said once, because nghttp2 reads no more after a GOAWAY then; a client
   * finds a stream that crosses it refused, and may send it elsewhere.
   */
  drain(): void {
    if (this.#draining || this.#session.destroyed) return;
    this.#draining = true;
    if (this.#openStreams === 0) return this.#close();
    this.#session.goaway(0, ANY_STREAM);
    if (!this.#session.ping(() => this.#close())) this.#close();
  }

  destroy(): void {
    this.#session.destroy();
  }

  #close(): void {
    if (!this.#session.closed && !this.#session.destroyed) this.#session.close();
  }

  #onSilence(): void {
    if (this.#session.closed || this.#session.destroyed) return;
    if (this.#openStreams === 0 && ++this.#idleTurns > IDLE_TURNS) return this.#close();
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
