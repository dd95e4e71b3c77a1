import { constants, type ServerHttp2Session, type ServerHttp2Stream } from "node:http2";
import { STREAMS_OF_SERVICES } from "./http2-bounds.ts";
import type { Reading } from "./reading.ts";

/** Interval at which the port calls `look`. */
export const LOOK_EVERY_MS = 30_000;
const PING_ANSWER_MS = 10_000;
/** Number of looks in a row without a new or open stream after which a session is closed. */
const IDLE_LOOKS = 10;
/**
 * Maximum notes of further work in one turn of the event loop. Each further piece of a message is one. A read of 64 KiB
 * may have 6,500 frames of one byte, and Node hands each to JavaScript. If each message of a read has two pieces, a
 * read has 650 further pieces at most.
 */
const MAX_NOTES_IN_A_TURN = 2000;

/** One HTTP/2 connection. It closes when it is idle or its peer is unreachable, and drains without losing a call. */
export class Http2Session {
  readonly #session: ServerHttp2Session;
  readonly #reading: Reading;
  #longStreams = 0;
  #newStreams = 0;
  #idleLooks = 0;
  #notes = 0;
  #mayHaveMany = false;

  constructor(session: ServerHttp2Session, reading: Reading) {
    this.#session = session;
    this.#reading = reading;
    session.on("close", () => reading.close());
  }

  /** Whether `allowManyStreams` was called. */
  get mayHaveManyStreams(): boolean {
    return this.#mayHaveMany;
  }

  /** Tells the client that it may have STREAMS_OF_SERVICES. */
  allowManyStreams(): void {
    this.#mayHaveMany = true;
    if (this.#session.closed || this.#session.destroyed) return;
    this.#session.settings({ maxConcurrentStreams: STREAMS_OF_SERVICES });
  }

  /** Begins a stream in its turn. */
  begin(task: () => void): void {
    this.#newStreams++;
    this.#reading.begin(task);
  }

  /**
   * Counts work that has come and costs about as much as `weight` short calls. Ends the connection with
   * ENHANCE_YOUR_CALM above MAX_NOTES_IN_A_TURN: then Node hands out no further frame of the read.
   */
  noteWork(weight: number): void {
    if (this.#notes++ === 0) {
      setImmediate(() => {
        this.#notes = 0;
      });
    }
    if (this.#notes <= MAX_NOTES_IN_A_TURN) this.#reading.note(weight);
    else this.#session.destroy(undefined, constants.NGHTTP2_ENHANCE_YOUR_CALM);
  }

  /**
   * Notes that a stream goes by the Connect lane. Nothing more of the connection is read in this turn, and the session
   * is not idle while the stream is open.
   */
  keepFor(stream: ServerHttp2Stream): void {
    this.#reading.stop();
    this.#longStreams++;
    stream.on("close", () => this.#longStreams--);
  }

  /**
   * Sends a PING if no stream has begun since the last look, and closes the session if its peer does not answer.
   * (Node's own timeout of a session would be reset by each frame.)
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
    // Its calls ended minutes ago. Only answers that its peer does not read keep it open.
    else this.destroy();
  }

  /**
   * Sends GOAWAY with the last stream that was taken, and closes when all streams have ended. A stream that crosses the
   * GOAWAY on its way counts as never begun, so gRPC clients send its call to another server by themselves. (Node can't
   * send the two GOAWAYs of RFC 9113, 6.8: nghttp2 ignores streams after the first one.)
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
