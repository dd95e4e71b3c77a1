import type { ServerHttp2Session, ServerHttp2Stream } from "node:http2";
import type { Reading } from "./reading.ts";

/** How often `look` is to be called. */
export const LOOK_EVERY_MS = 30_000;
const PING_ANSWER_MS = 10_000;
/** After so many looks at which there was neither a new stream nor an open one a session is closed. */
const IDLE_LOOKS = 10;

/** One HTTP/2 connection: closed when nobody uses it or its other end is gone, and drained without losing a call. */
export class Http2Session {
  readonly #session: ServerHttp2Session;
  readonly #reading: Reading;
  #longStreams = 0;
  #newStreams = 0;
  #idleLooks = 0;

  constructor(session: ServerHttp2Session, reading: Reading) {
    this.#session = session;
    this.#reading = reading;
    session.on("close", () => reading.close());
  }

  /** Begins a stream in its turn. */
  begin(task: () => void): void {
    this.#newStreams++;
    this.#reading.begin(task);
  }

  /** Something has come that costs about as much as `weight` short calls. */
  noteWork(weight: number): void {
    this.#reading.note(weight);
  }

  /** The stream is dear and may last: no more is read in this turn, and while it is open its session is not idle. */
  keepFor(stream: ServerHttp2Stream): void {
    this.#reading.stop();
    this.#longStreams++;
    stream.on("close", () => this.#longStreams--);
  }

  /**
   * Asks a session on which no stream has begun since the last look, with a PING, whether its other end is still there.
   * (A timeout of node's own for each session would be set anew for each frame.)
   */
  look(): void {
    if (this.#session.destroyed) return;
    if (this.#newStreams > 0) {
      this.#newStreams = 0;
      this.#idleLooks = 0;
      return;
    }
    const isIdle = this.#longStreams === 0 && ++this.#idleLooks > IDLE_LOOKS;
    if (!isIdle) this.#ping();
    else if (!this.#session.closed) this.#session.close();
    // All its calls ended minutes ago: what keeps it are answers that its other end does not read.
    else this.destroy();
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

  #ping(): void {
    const timer = setTimeout(() => this.destroy(), PING_ANSWER_MS);
    const stop = () => clearTimeout(timer);
    this.#session.once("close", stop);
    const isSent = this.#session.ping(() => {
      stop();
      this.#session.off("close", stop);
    });
    if (!isSent) stop();
  }
}
