/**
 * LANES. From bytes to calls and back. Each lane gives calls to the same Concerns, so a lane has no behaviour of its
 * own.
 *
 *   unary-lane.ts      unary gRPC: headers in, message in, message and trailers out. It knows no transport
 *   unary-http2.ts     the unary lane on node:http2's own streams, without the compatibility layer
 *   connect-lane.ts    every other request: Connect, gRPC-Web, streams, compression, by connect-es
 *   connect-http.ts    requests and responses of that lane, on node:http and node:http2
 *   held-body.ts       the body of a request of that lane, counted as it comes
 *   json-options.ts    how JSON is read and written
 *   grpc-web-text.ts   gRPC-Web in base64, on top of the binary form
 *   raw-headers.ts     the values of a header, for both lanes
 *   grpc-frame.ts      the length prefix of gRPC messages, and the maximum size of an answer
 *   grpc-status.ts     the trailers of a gRPC answer
 *   timeout.ts         the timeout that a client sends
 *   lane-calls.ts      counts of calls by lane
 *   unread-answers.ts  bounds answers that no client reads
 */
import { create, type DescMethodUnary, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import type { DomainError } from "../../lib/errors.ts";
import { type CallHead, EncodedMessage } from "../call.ts";
import type { Concerns } from "../calls/concerns.ts";
import type { AbortListener, LiveCall } from "../calls/live-call.ts";
import { codecError } from "../errors.ts";
import type { Route, UnaryRoute } from "../routes.ts";
import { MAX_RESPONSE_BYTES } from "./grpc-frame.ts";
import { errorTrailers, type Metadata, withFields } from "./grpc-status.ts";
import { type LaneCalls, unaryLaneOf } from "./lane-calls.ts";
import { readTimeout } from "./timeout.ts";

/** The headers of a request, as a transport gives them. */
export interface RequestHead extends CallHead {
  readonly verb: string;
  /** With the query, if there is one. */
  readonly path: string;
  readonly contentType: string | undefined;
}

/** The answer of a call. An error has no message. It consists of trailers only, unless its handler added headers. */
export interface WireAnswer {
  readonly headers: Metadata;
  readonly message: Uint8Array | undefined;
  readonly trailers: Metadata;
}

/** The wire of one call. */
export interface UnaryWire {
  /**
   * Starts to read the message. `UnaryCall.hold` follows for each piece, and then `receive`, or `fail` with an error of
   * `codecError`.
   */
  read(maxBytes: number): void;
  /** Writes the answer, unless the client is gone. Called once. */
  answer(answer: WireAnswer): void;
}

export interface UnaryLaneDeps {
  readonly routes: ReadonlyMap<string, Route>;
  readonly concerns: Concerns;
  /** Counts the calls that it takes. */
  readonly calls: LaneCalls;
}

/** Content types without parameters. Requests with others go to the Connect lane. */
const CONTENT_TYPES: ReadonlySet<string | undefined> = new Set(["application/grpc", "application/grpc+proto"]);

/** The headers of every answer, errors included. Without other headers, an answer has this same object. */
export const ANSWER_HEADERS: Metadata = Object.freeze({
  "content-type": "application/grpc+proto",
});
const OK: Metadata = Object.freeze({ "grpc-status": "0" });

/** The lane of unary gRPC calls without compression. */
export class UnaryLane {
  readonly #routes: ReadonlyMap<string, Route>;
  readonly #concerns: Concerns;
  readonly #calls: LaneCalls;

  constructor(deps: UnaryLaneDeps) {
    this.#routes = deps.routes;
    this.#concerns = deps.concerns;
    this.#calls = deps.calls;
  }

  /** Takes the request, or returns undefined if it is for the Connect lane. Only the headers decide. */
  take(head: RequestHead): UnaryCall | undefined {
    const route = this.#routes.get(head.path);
    if (route?.kind !== "unary" || head.verb !== "POST" || !CONTENT_TYPES.has(head.contentType)) return undefined;
    const [encoding = "identity"] = head.header("grpc-encoding");
    if (encoding !== "identity") return undefined;
    this.#calls[unaryLaneOf(route)]++;
    return new UnaryCall(this.#concerns, route, head);
  }
}

/**
 * One call that the lane took. Its steps call each other, because a chain of promises would cost as much as everything
 * else here. The first step that fails ends the call. So does the deadline.
 */
export class UnaryCall implements AbortListener {
  readonly #concerns: Concerns;
  readonly #route: UnaryRoute;
  readonly #call: LiveCall;
  readonly #badTimeout: DomainError | undefined;
  /** undefined once the call is answered. */
  #wire: UnaryWire | undefined;

  constructor(concerns: Concerns, route: UnaryRoute, head: RequestHead) {
    this.#concerns = concerns;
    this.#route = route;
    const timeout = readTimeout("grpc-timeout", head.header("grpc-timeout"));
    this.#badTimeout = typeof timeout === "object" ? timeout : undefined;
    this.#call = concerns.begin(route, head, typeof timeout === "number" ? timeout : undefined);
  }

  /** Asks for the message if the call may go on. Answers soon after the deadline, whatever the client does. */
  start(wire: UnaryWire): void {
    this.#wire = wire;
    this.#call.abortListener = this;
    try {
      if (this.#badTimeout !== undefined) throw this.#badTimeout;
      const pending = this.#concerns.admit(this.#call);
      if (pending === undefined) this.#read();
      else pending.then(() => this.#read()).catch((error: unknown) => this.fail(error));
    } catch (error) {
      this.fail(error);
    }
  }

  /** A piece of the message has come. */
  hold(bytes: number): void {
    this.#concerns.hold(this.#call, bytes);
  }

  /** The message is complete. */
  receive(bytes: Uint8Array): void {
    if (this.#wire === undefined) return;
    try {
      const response = this.#concerns.run(this.#call, decode(this.#route, bytes));
      if (!(response instanceof Promise)) this.#succeed(response);
      else response.then((settled) => this.#succeed(settled)).catch((error: unknown) => this.fail(error));
    } catch (error) {
      this.fail(error);
    }
  }

  /** The message can't be read, or the call has failed otherwise. Only the first failure counts. */
  fail(error: unknown): void {
    const wire = this.#wire;
    // Cleared first: `concerns.fail` aborts the call, which calls `fail` again.
    this.#wire = undefined;
    if (wire !== undefined) this.#answer(wire, undefined, errorTrailers(this.#concerns.fail(this.#call, error)));
  }

  /** The client has closed the stream. */
  cancel(): void {
    this.#concerns.cancel(this.#call);
  }

  aborted(failure: DomainError): void {
    this.fail(failure);
  }

  #read(): void {
    this.#wire?.read(this.#route.maxRequestBytes);
  }

  #succeed(response: unknown): void {
    const message = encode(this.#route, response);
    const wire = this.#wire;
    this.#wire = undefined;
    if (wire !== undefined) this.#answer(wire, message, OK);
  }

  #answer(wire: UnaryWire, message: Uint8Array | undefined, status: Metadata): void {
    const { answerHeaders, answerTrailers } = this.#call;
    const headers = withFields(ANSWER_HEADERS, answerHeaders);
    wire.answer({ headers, message, trailers: withFields(status, answerTrailers) });
  }
}

/** @throws {ConnectError} INTERNAL for malformed protobuf, as gRPC specifies */
function decode({ method, readBytes }: UnaryRoute, bytes: Uint8Array): unknown {
  try {
    return readBytes === undefined ? fromBinary(method.input, bytes) : readBytes(bytes);
  } catch {
    throw codecError("INTERNAL");
  }
}

function encode({ method }: UnaryRoute, response: unknown): Uint8Array {
  const { output } = method as DescMethodUnary;
  const bytes =
    response instanceof EncodedMessage
      ? response.bytes
      : toBinary(output, create(output, response as MessageInitShape<typeof output>));
  if (bytes.length > MAX_RESPONSE_BYTES) throw new Error(`an answer of ${bytes.length} bytes`);
  return bytes;
}
