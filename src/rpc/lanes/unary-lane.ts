import { create, type DescMethodUnary, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import type { DomainError } from "../../lib/errors.ts";
import { type CallHead, EncodedMessage } from "../call.ts";
import type { Concerns } from "../calls/concerns.ts";
import type { AbortListener, LiveCall } from "../calls/live-call.ts";
import { codecError } from "../errors.ts";
import type { Route, UnaryRoute } from "../routes.ts";
import { MAX_RESPONSE_BYTES } from "./grpc-frame.ts";
import { errorTrailers, type Metadata, withFields } from "./grpc-status.ts";
import { readTimeout } from "./timeout.ts";

/**
 * The short way for unary gRPC, in front of the Connect lane: headers in, message in, message and trailers out. It has
 * no behaviour of its own: all that happens to a call is `Concerns`, and what it can't do goes to Connect. It knows
 * no transport; `unary-http2.ts` is one.
 */

/** The headers of a request, as a transport gives them. */
export interface RequestHead extends CallHead {
  readonly verb: string;
  /** With the query, if there is one. */
  readonly path: string;
  readonly contentType: string | undefined;
}

/** How a call ended. An error has no message, and only trailers unless its handler added headers. */
export interface WireAnswer {
  readonly headers: Metadata;
  readonly message: Uint8Array | undefined;
  readonly trailers: Metadata;
}

/** The wire of one call. */
export interface UnaryWire {
  /**
   * Starts to read the one message: `UnaryCall.hold` for each piece and then `receive` follow, or `fail` with what
   * `codecError` makes.
   */
  read(maxBytes: number): void;
  /** Writes the answer, unless the client is gone. Called once. */
  answer(answer: WireAnswer): void;
}

export interface UnaryLaneDeps {
  readonly routes: ReadonlyMap<string, Route>;
  readonly concerns: Concerns;
}

/** Types that need no look at their parameters; others are Connect's business. */
const CONTENT_TYPES: ReadonlySet<string | undefined> = new Set(["application/grpc", "application/grpc+proto"]);

/** Headers of every answer, with an error or without; the same object where there are no others. */
export const ANSWER_HEADERS: Metadata = Object.freeze({
  "content-type": "application/grpc+proto",
});
const OK: Metadata = Object.freeze({ "grpc-status": "0" });

export class UnaryLane {
  readonly #routes: ReadonlyMap<string, Route>;
  readonly #concerns: Concerns;
  #taken = 0;

  constructor(deps: UnaryLaneDeps) {
    this.#routes = deps.routes;
    this.#concerns = deps.concerns;
  }

  /** Calls that it has served or serves. */
  get taken(): number {
    return this.#taken;
  }

  /** Takes the request, or returns undefined if it is Connect's. Headers alone decide. */
  take(head: RequestHead): UnaryCall | undefined {
    const route = this.#routes.get(head.path);
    if (route?.kind !== "unary" || head.verb !== "POST" || !CONTENT_TYPES.has(head.contentType)) return undefined;
    const [encoding = "identity"] = head.header("grpc-encoding");
    if (encoding !== "identity") return undefined;
    this.#taken++;
    return new UnaryCall(this.#concerns, route, head);
  }
}

/**
 * One call that the lane took. Steps call each other, where a chain of promises would cost as much as all else here;
 * whichever of them fails first ends the call, and so does its deadline.
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

  /** A piece of the message has come, of so many bytes. */
  hold(bytes: number): void {
    this.#concerns.hold(this.#call, bytes);
  }

  /** The message has come. */
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

  /** The message can't be had, or the call has failed otherwise. Only the first failure counts. */
  fail(error: unknown): void {
    const wire = this.#wire;
    // Before the concerns hear of it, who then abort the call, which ends here again.
    this.#wire = undefined;
    if (wire !== undefined) this.#answer(wire, undefined, errorTrailers(this.#concerns.fail(this.#call, error)));
  }

  /** The client is gone. */
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

/** @throws {ConnectError} INTERNAL for what is no protobuf, as gRPC has it */
function decode({ method }: UnaryRoute, bytes: Uint8Array): unknown {
  try {
    return fromBinary(method.input, bytes);
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
