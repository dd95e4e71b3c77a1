import { constants, type IncomingHttpHeaders, type ServerHttp2Stream } from "node:http2";
import type { Listed } from "../../lib/oldest-first.ts";
import { headerValues } from "./connect-http.ts";
import { FrameReader, frame } from "./grpc-frame.ts";
import type { Metadata } from "./grpc-status.ts";
import { type Answered, OpenAnswers } from "./open-answers.ts";
import {
  ANSWER_HEADERS,
  type Answer,
  type RequestHead,
  type UnaryCall,
  type UnaryLane,
  type UnaryWire,
} from "./unary-lane.ts";
import { cutUnlessRead } from "./unread-answers.ts";

/** Takes an HTTP/2 stream of which nothing but the headers has been looked at, or returns false and leaves it alone. */
export type StreamTaker = (
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
  rawHeaders: readonly string[],
) => boolean;

/** The unary lane on node:http2's own streams: no compatibility layer, no pipes. Streams must have an 'error' listener. */
export function createStreamTaker(lane: UnaryLane): StreamTaker {
  return (stream, headers, rawHeaders) => {
    // What a browser's page sends wants CORS headers, which are Connect's side of the house.
    if (headers.origin !== undefined || headers.expect !== undefined) return false;
    const call = lane.take(new Http2Head(stream, headers, rawHeaders));
    if (call === undefined) return false;
    call.start(new Http2Exchange(stream, call));
    return true;
  };
}

/** The head of a request, over raw headers: node drops repeated values of some headers elsewhere. */
class Http2Head implements RequestHead {
  readonly verb: string;
  readonly path: string;
  readonly contentType: string | undefined;
  readonly #stream: ServerHttp2Stream;
  readonly #headers: IncomingHttpHeaders;
  readonly #rawHeaders: readonly string[];

  constructor(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, rawHeaders: readonly string[]) {
    this.verb = headers[":method"] as string;
    this.path = headers[":path"] as string;
    this.contentType = headers["content-type"];
    this.#stream = stream;
    this.#headers = headers;
    this.#rawHeaders = rawHeaders;
  }

  get connection(): object {
    return this.#stream.session ?? this.#stream;
  }

  get peerAddress(): string {
    return this.#stream.session?.socket.remoteAddress ?? "";
  }

  header(name: string): readonly string[] {
    return this.#headers[name] === undefined ? NONE : headerValues(this.#rawHeaders, name);
  }
}

const NONE: readonly string[] = Object.freeze([]);

/** Answers that nobody reads are bounded in number; longer ones, which few calls have, are watched one by one as well. */
const SHORT_BYTES = 1024;
/** Of the process, whatever its ports. */
const openAnswers = new OpenAnswers();

/** Where a stream's listeners find its exchange: one function for all streams is cheaper than some for each. */
const EXCHANGE = Symbol("exchange");

interface LaneStream extends ServerHttp2Stream {
  [EXCHANGE]?: Http2Exchange;
}

/**
 * One stream and its call. Node keeps a stream until the next full garbage collection, and with it all that it knows: so
 * it knows this object alone, and that forgets the call as soon as it is answered.
 */
class Http2Exchange implements UnaryWire, Answered {
  isListed = false;
  older: Listed | undefined;
  newer: Listed | undefined;
  turn = 0;
  readonly #stream: ServerHttp2Stream;
  #call: UnaryCall | undefined;
  #reader: FrameReader | undefined;
  #trailers: Metadata | undefined;

  constructor(stream: LaneStream, call: UnaryCall) {
    this.#stream = stream;
    this.#call = call;
    stream[EXCHANGE] = this;
    stream.on("close", onClose);
  }

  read(maxBytes: number): void {
    const stream = this.#stream;
    this.#reader = new FrameReader(maxBytes);
    stream.on("data", onData);
    // A body of nothing may have ended before the call was admitted.
    if (stream.readableEnded) this.end();
    else stream.on("end", onEnd);
  }

  answer({ headers, message, trailers }: Answer): void {
    this.#call = undefined;
    this.#reader = undefined;
    const stream = this.#stream;
    if (stream.destroyed || stream.closed) return;
    openAnswers.add(this);
    if (message === undefined && headers === ANSWER_HEADERS) {
      stream.respond({ ...headers, ...trailers }, WITHOUT_BODY);
      if (!stream.readableEnded) letGo(stream);
    } else {
      this.#trailers = trailers;
      stream.on("wantTrailers", onWantTrailers);
      stream.respond(headers === ANSWER_HEADERS ? USUAL_HEADERS : headers, WITH_TRAILERS);
      stream.end(message && frame(message));
      if (message !== undefined && message.length > SHORT_BYTES) {
        cutUnlessRead(stream, "close", () => stream.destroy());
      }
    }
  }

  sendTrailers(): void {
    this.#stream.sendTrailers(this.#trailers!);
  }

  /** The client is gone, or all is done. */
  close(): void {
    openAnswers.delete(this);
    this.#call?.cancel();
  }

  get connection(): object {
    return this.#stream.session ?? this.#stream;
  }

  cutConnection(): void {
    this.#stream.session?.destroy();
  }

  push(piece: Buffer): void {
    try {
      this.#reader?.push(piece);
      this.#call?.hold(piece.length);
    } catch (error) {
      this.#call?.fail(error);
    }
  }

  end(): void {
    // What was cut off ends, too; its call is cancelled when the stream closes.
    if (this.#reader === undefined || this.#stream.aborted) return;
    let message: Uint8Array;
    try {
      message = this.#reader.finish();
    } catch (error) {
      this.#call?.fail(error);
      return;
    }
    this.#call?.receive(message);
  }
}

function onData(this: LaneStream, piece: Buffer): void {
  this[EXCHANGE]!.push(piece);
}

function onEnd(this: LaneStream): void {
  this[EXCHANGE]!.end();
}

function onClose(this: LaneStream): void {
  this[EXCHANGE]!.close();
}

function onWantTrailers(this: LaneStream): void {
  this[EXCHANGE]!.sendTrailers();
}

/** As ANSWER_HEADERS, in the form that node takes without copying; it would change one that has no status or wants a date. */
const USUAL_HEADERS = [":status", "200", ...Object.entries(ANSWER_HEADERS).flat()] as string[];
/** gRPC has no use for a date, which node adds otherwise. */
const WITH_TRAILERS = Object.freeze({ waitForTrailers: true, sendDate: false });
const WITHOUT_BODY = Object.freeze({ endStream: true, sendDate: false });

/**
 * Closes without an error a stream whose body was not read to its end, once the answer is out (RFC 9113, 8.1). What has
 * come of the body is dropped: node keeps a stream until somebody has read it.
 */
function letGo(stream: ServerHttp2Stream): void {
  stream.removeAllListeners("data").resume();
  setImmediate(() => stream.close(constants.NGHTTP2_NO_ERROR));
}
