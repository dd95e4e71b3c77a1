import type { IncomingHttpHeaders, ServerHttp2Stream } from "node:http2";
import type { Listed } from "../../lib/oldest-first.ts";
import { closeUnlessRead } from "./connect-http.ts";
import { FrameReader, frame } from "./grpc-frame.ts";
import type { Metadata } from "./grpc-status.ts";
import { headerValues } from "./raw-headers.ts";
import {
  ANSWER_HEADERS,
  type RequestHead,
  type UnaryCall,
  type UnaryLane,
  type UnaryWire,
  type WireAnswer,
} from "./unary-lane.ts";
import type { SentAnswer, UnreadAnswers } from "./unread-answers.ts";

/** Takes an HTTP/2 stream whose body has not been read, or returns false and leaves the stream unchanged. */
export type StreamTaker = (
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
  rawHeaders: readonly string[],
) => boolean;

/**
 * The unary lane on node:http2's own streams: no compatibility layer, no pipes. Streams must have an 'error' listener.
 */
export function createStreamTaker(
  lane: UnaryLane,
  unread: UnreadAnswers,
  noteWork: (connection: object, weight: number) => void,
): StreamTaker {
  // A client may send the rest of a refused message in frames of one byte.
  const drop = (stream: ServerHttp2Stream) => {
    const { session } = stream;
    if (session !== undefined) stream.on("data", () => noteWork(session, 1));
    else stream.resume();
  };
  return (stream, headers, rawHeaders) => {
    // A browser needs CORS headers, which only requests of the Connect lane get.
    if (headers.origin !== undefined || headers.expect !== undefined) return false;
    const call = lane.take(new Http2Head(stream, headers, rawHeaders));
    if (call === undefined) return false;
    call.start(new StreamExchange(stream, call, { unread, drop }));
    return true;
  };
}

/** The head of a request, over raw headers, because node's other forms drop repeated values of some headers. */
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
 * Maximum size of a short answer. Unread answers of any size are bounded in number. Longer ones are rare, so each is
 * also watched by itself.
 */
const SHORT_BYTES = 1024;

/** The property of a stream that holds its exchange, so that all streams share the same listeners. */
const STREAM_EXCHANGE = Symbol("exchange");

interface LaneStream extends ServerHttp2Stream {
  [STREAM_EXCHANGE]?: StreamExchange;
}

/** The parts of a server that all its exchanges share. */
interface Wiring {
  readonly unread: UnreadAnswers;
  /** Reads the rest of a stream, and drops it. */
  drop(stream: ServerHttp2Stream): void;
}

/**
 * One stream and its call. Node retains closed streams until a full garbage collection. So a stream references only
 * this object, which drops the call as soon as it is answered.
 */
class StreamExchange implements UnaryWire, SentAnswer {
  isListed = false;
  older: Listed | undefined;
  newer: Listed | undefined;
  sentNo = 0;
  readonly #stream: ServerHttp2Stream;
  readonly #unread: UnreadAnswers;
  readonly #drop: Wiring["drop"];
  #call: UnaryCall | undefined;
  #reader: FrameReader | undefined;
  #trailers: Metadata | undefined;

  constructor(stream: LaneStream, call: UnaryCall, { unread, drop }: Wiring) {
    this.#stream = stream;
    this.#unread = unread;
    this.#drop = drop;
    this.#call = call;
    stream[STREAM_EXCHANGE] = this;
    stream.on("close", onClose);
  }

  read(maxBytes: number): void {
    const stream = this.#stream;
    this.#reader = new FrameReader(maxBytes);
    stream.on("data", onData);
    // An empty body may have ended before the call was admitted.
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
      if (!stream.readableEnded) letGo(stream, this.#drop);
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

  /** The stream has closed, answered or not. */
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
    // A body that was cut off also ends. Its call is cancelled when the stream closes.
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

/** ANSWER_HEADERS in the form that node takes without a copy. Node would copy it to add a status or a date. */
const USUAL_HEADERS = [":status", "200", ...Object.entries(ANSWER_HEADERS).flat()] as string[];
/** gRPC has no use for the date, which node adds by default. */
const WITH_TRAILERS = Object.freeze({ waitForTrailers: true, sendDate: false });
const WITHOUT_BODY = Object.freeze({ endStream: true, sendDate: false });

/**
 * Closes a stream whose body was not read to its end, without an error, after the answer (RFC 9113, 8.1). The rest of
 * the body is dropped, because node keeps a stream until its body is read.
 */
function letGo(stream: ServerHttp2Stream, drop: Wiring["drop"]): void {
  stream.removeAllListeners("data");
  drop(stream);
  closeUnlessRead(stream);
}
