import { constants, type IncomingHttpHeaders, type ServerHttp2Stream } from "node:http2";
import { headerValues } from "./connect-wire.ts";
import { FrameReader, frame } from "./grpc-frame.ts";
import { ANSWER_HEADERS, type Answer, type RequestHead, type UnaryCall, type UnaryLane } from "./unary-lane.ts";

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
    void exchange(stream, call);
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

async function exchange(stream: ServerHttp2Stream, call: UnaryCall): Promise<void> {
  let isAnswered = false;
  stream.on("close", () => {
    if (!isAnswered) call.cancel();
  });
  const answer = await call.answer((maxBytes) => readMessage(stream, maxBytes));
  isAnswered = true;
  if (!stream.destroyed && !stream.closed) write(stream, answer);
}

/** Never settles if the stream is cut off: its call is cancelled then. */
function readMessage(stream: ServerHttp2Stream, maxBytes: number): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const reader = new FrameReader(maxBytes);
    stream.on("data", (piece: Buffer) => {
      try {
        reader.push(piece);
      } catch (error) {
        stream.removeAllListeners("data");
        reject(error);
      }
    });
    const onEnd = () => {
      try {
        resolve(reader.finish());
      } catch (error) {
        reject(error);
      }
    };
    // A body of nothing may have ended before the call was admitted.
    if (stream.readableEnded) onEnd();
    else stream.on("end", onEnd);
  });
}

const WITH_TRAILERS = Object.freeze({ waitForTrailers: true });
const WITHOUT_BODY = Object.freeze({ endStream: true });

function write(stream: ServerHttp2Stream, { message, trailers }: Answer): void {
  if (message === undefined) {
    stream.respond({ ...ANSWER_HEADERS, ...trailers }, WITHOUT_BODY);
    if (!stream.readableEnded) letGo(stream);
    return;
  }
  stream.on("wantTrailers", () => stream.sendTrailers(trailers));
  stream.respond(ANSWER_HEADERS, WITH_TRAILERS);
  stream.end(frame(message));
}

/**
 * Closes without an error a stream whose body was not read to its end, once the answer is out (RFC 9113, 8.1). What has
 * come of the body is dropped: node keeps a stream until somebody has read it.
 */
function letGo(stream: ServerHttp2Stream): void {
  stream.removeAllListeners("data").resume();
  setImmediate(() => stream.close(constants.NGHTTP2_NO_ERROR));
}
