import { constants, type IncomingHttpHeaders, type ServerHttp2Stream } from "node:http2";
import { headerValues } from "./connect-wire.ts";
import { FrameReader, frame } from "./grpc-frame.ts";
import {
  ANSWER_HEADERS,
  type Answer,
  type RequestHead,
  type UnaryCall,
  type UnaryLane,
  type UnaryWire,
} from "./unary-lane.ts";

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

/**
 * One stream and its call. Node keeps a stream until the next full garbage collection, and with it all that its listeners
 * know: so they know this object alone, and it forgets the call as soon as that is answered.
 */
class Http2Exchange implements UnaryWire {
  readonly #stream: ServerHttp2Stream;
  #call: UnaryCall | undefined;
  #reader: FrameReader | undefined;

  constructor(stream: ServerHttp2Stream, call: UnaryCall) {
    this.#stream = stream;
    this.#call = call;
    stream.on("close", () => this.#call?.cancel());
  }

  read(maxBytes: number): void {
    const stream = this.#stream;
    this.#reader = new FrameReader(maxBytes);
    stream.on("data", (piece: Buffer) => this.#onData(piece));
    // A body of nothing may have ended before the call was admitted.
    if (stream.readableEnded) this.#onEnd();
    else stream.on("end", () => this.#onEnd());
  }

  answer({ headers, message, trailers }: Answer): void {
    this.#call = undefined;
    this.#reader = undefined;
    const stream = this.#stream;
    if (stream.destroyed || stream.closed) return;
    if (message === undefined && headers === ANSWER_HEADERS) {
      stream.respond({ ...headers, ...trailers }, WITHOUT_BODY);
      if (!stream.readableEnded) letGo(stream);
    } else {
      stream.on("wantTrailers", () => stream.sendTrailers(trailers));
      stream.respond(headers, WITH_TRAILERS);
      stream.end(message && frame(message));
    }
  }

  #onData(piece: Buffer): void {
    try {
      this.#reader?.push(piece);
    } catch (error) {
      this.#call?.fail(error);
    }
  }

  #onEnd(): void {
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

const WITH_TRAILERS = Object.freeze({ waitForTrailers: true });
const WITHOUT_BODY = Object.freeze({ endStream: true });

/**
 * Closes without an error a stream whose body was not read to its end, once the answer is out (RFC 9113, 8.1). What has
 * come of the body is dropped: node keeps a stream until somebody has read it.
 */
function letGo(stream: ServerHttp2Stream): void {
  stream.removeAllListeners("data").resume();
  setImmediate(() => stream.close(constants.NGHTTP2_NO_ERROR));
}
