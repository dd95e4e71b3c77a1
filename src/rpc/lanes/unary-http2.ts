import { constants, type IncomingHttpHeaders, type ServerHttp2Stream } from "node:http2";
import type { Listed } from "../../lib/oldest-first.ts";
import { headerValues } from "./connect-http.ts";
import { FrameReader, frame } from "./grpc-frame.ts";
import type { Metadata } from "./grpc-status.ts";
import {
  ANSWER_HEADERS,
  type RequestHead,
  type UnaryCall,
  type UnaryLane,
  type UnaryWire,
  type WireAnswer,
} from "./unary-lane.ts";
import type { SentAnswer, UnreadAnswers } from "./unread-answers.ts";

/** Takes an HTTP/2 stream of which nothing but the headers has been looked at, or returns false and leaves it alone. */
export type StreamTaker = (
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
  rawHeaders: readonly string[],
) => boolean;

/** The unary lane on node:http2's own streams: no compatibility layer, no pipes. Streams must have an 'error' listener. */
export function createStreamTaker(lane: UnaryLane, unread: UnreadAnswers): StreamTaker {
  return (stream, headers, rawHeaders) => {
    // What a browser's page sends wants CORS headers, which are Connect's side of the house.
    if (headers.origin !== undefined || headers.expect !== undefined) return false;
    const call = lane.take(new Http2Head(stream, headers, rawHeaders));
    if (call === undefined) return false;
    call.start(new StreamExchange(stream, call, unread));
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

/** Maximum size of a short answer: unread ones are bounded in number. Longer ones are rare, and watched one by one as well. */
const SHORT_BYTES = 1024;

/** Where a stream's listeners find its exchange: one function for all streams is cheaper than some for each. */
const STREAM_EXCHANGE = Symbol("exchange");

interface LaneStream extends ServerHttp2Stream {
  [STREAM_EXCHANGE]?: StreamExchange;
}

/**
 * One stream and its call. Node keeps a stream until the next full garbage collection, and with it all that it knows: so
 * it knows this object alone, and that forgets the call as soon as it is answered.
 */
class StreamExchange implements UnaryWire, SentAnswer {
  isListed = false;
  older: Listed | undefined;
  newer: Listed | undefined;
  sentNo = 0;
  readonly #stream: ServerHttp2Stream;
  readonly #unread: UnreadAnswers;
  #call: UnaryCall | undefined;
  #reader: FrameReader | undefined;
  #trailers: Metadata | undefined;

  constructor(stream: LaneStream, call: UnaryCall, unread: UnreadAnswers) {
    this.#stream = stream;
    this.#unread = unread;
    this.#call = call;
    stream[STREAM_EXCHANGE] = this;
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

  answer({ headers, message, trailers }: WireAnswer): void {
    this.#call = undefined;
    this.#reader = undefined;
    const stream = this.#stream;
    if (stream.destroyed || stream.closed) return;
    this.#unread.add(this);
    if (message === undefined && headers === ANSWER_HEADERS) {
      stream.respond({ ...headers, ...trailers }, WITHOUT_BODY);
      if (!stream.readableEnded) letGo(stream);
    } else {
      this.#trailers = trailers;
      stream.on("wantTrailers", onWantTrailers);
      stream.respond(headers === ANSWER_HEADERS ? USUAL_HEADERS : headers, WITH_TRAILERS);
      stream.end(message && frame(message));
      if (message !== undefined && message.length > SHORT_BYTES) {
        this.#unread.cutUnlessRead(stream, "close", () => stream.destroy());
      }
    }
  }

  sendTrailers(): void {
    this.#stream.sendTrailers(this.#trailers!);
  }

  /** The client is gone, or all is done. */
  close(): void {
    this.#unread.delete(this);
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
  this[STREAM_EXCHANGE]!.push(piece);
}

function onEnd(this: LaneStream): void {
  this[STREAM_EXCHANGE]!.end();
}

function onClose(this: LaneStream): void {
  this[STREAM_EXCHANGE]!.close();
}

function onWantTrailers(this: LaneStream): void {
  this[STREAM_EXCHANGE]!.sendTrailers();
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
