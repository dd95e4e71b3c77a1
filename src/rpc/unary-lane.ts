import { create, type DescMethodUnary, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import type { DomainError } from "../lib/errors.ts";
import { type CallHead, EncodedMessage } from "./call.ts";
import type { Concerns } from "./concerns.ts";
import { codecError } from "./errors.ts";
import { errorTrailers } from "./grpc-status.ts";
import type { LiveCall } from "./live-call.ts";
import type { Route, UnaryRoute } from "./routes.ts";
import { parseGrpcTimeout } from "./timeout.ts";

/**
 * The short way for unary gRPC, in front of the Connect lane: headers in, message in, message and trailers out. It has
 * no behaviour of its own: all that happens to a call is `Concerns`, and what it can't do goes to Connect. It knows
 * no transport; `http2-exchange.ts` is one.
 */

/** The headers of a request, as a transport gives them. */
export interface RequestHead extends CallHead {
  readonly verb: string;
  /** With the query, if there is one. */
  readonly path: string;
  readonly contentType: string | undefined;
}

/** How a call ended. Without a message there are only trailers. */
export interface Answer {
  readonly message: Uint8Array | undefined;
  readonly trailers: Readonly<Record<string, string>>;
}

/**
 * Reads the one message of a request, when it is asked to and not before. Rejects with what `codecError` makes for a
 * body that is not one message of at most `maxBytes`.
 */
export type ReadMessage = (maxBytes: number) => Promise<Uint8Array>;

export interface UnaryLaneDeps {
  readonly routes: ReadonlyMap<string, Route>;
  readonly concerns: Concerns;
}

/** Types that need no look at their parameters; others are Connect's business. */
const CONTENT_TYPES: ReadonlySet<string | undefined> = new Set(["application/grpc", "application/grpc+proto"]);

/** Headers of every answer, with an error or without. */
export const ANSWER_HEADERS: Readonly<Record<string, string>> = Object.freeze({
  "content-type": "application/grpc+proto",
});
const OK: Readonly<Record<string, string>> = Object.freeze({ "grpc-status": "0" });
/** Only a fault of ours makes a longer answer. */
const MAX_RESPONSE_BYTES = 16 * 1024 * 1024;

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

/** One call that the lane took. */
export class UnaryCall {
  readonly #concerns: Concerns;
  readonly #route: UnaryRoute;
  readonly #call: LiveCall;
  readonly #badTimeout: DomainError | undefined;

  constructor(concerns: Concerns, route: UnaryRoute, head: RequestHead) {
    this.#concerns = concerns;
    this.#route = route;
    const timeout = readTimeout(head);
    this.#badTimeout = typeof timeout === "object" ? timeout : undefined;
    this.#call = concerns.begin(route, head, typeof timeout === "number" ? timeout : undefined);
  }

  /** Carries the call out. Never rejects, and settles soon after the deadline whatever the client does. */
  async answer(readMessage: ReadMessage): Promise<Answer> {
    const call = this.#call;
    try {
      if (this.#badTimeout !== undefined) throw this.#badTimeout;
      const pending = this.#concerns.admit(call);
      if (pending !== undefined) await pending;
      const bytes = await call.race(readMessage(this.#route.maxRequestBytes));
      const response = await this.#concerns.perform(call, decode(this.#route, bytes));
      return { message: encode(this.#route, response), trailers: OK };
    } catch (error) {
      return { message: undefined, trailers: errorTrailers(this.#concerns.fail(call, error)) };
    }
  }

  /** The client is gone. */
  cancel(): void {
    this.#concerns.cancel(this.#call);
  }
}

function readTimeout(head: RequestHead): number | DomainError | undefined {
  const values = head.header("grpc-timeout");
  if (values.length === 0) return undefined;
  try {
    // Two values, joined, are no timeout either.
    return parseGrpcTimeout(values.join(","));
  } catch (error) {
    return error as DomainError;
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
