/**
 * FRONT DOOR. Everything between the network and the business rooms. A connection brings bytes, a lane turns them into
 * a call, every call passes the concerns, and a handler turns its message into one verb of a business room. The answer
 * takes the same way back. No file of this room knows SQL or Redis.
 *
 * This file says what a call is on any wire: headers in, message in, message and trailers out. Neither it nor a handler
 * knows node:http2 or Connect, because calls arrive by more than one lane.
 *
 *   connections/      sockets: one port for h2c, HTTP/1.1 and TLS, and how much of each caller's bytes is read
 *   lanes/            from bytes to calls and back: unary gRPC by a lane of its own, all else through connect-node
 *   rest/             the lane of plain HTTP and JSON, by the paths of the contract
 *   calls/            the interceptor chain that every call passes: caller, access, capacity, deadline, errors, log
 *   handlers/         from messages to verbs of the business rooms and back
 *   standard/         what any gRPC server has: health, reflection, CORS, and the key set
 *   ops/              the second port, for operators: health and metrics
 *
 *   server.ts         connects the sub-rooms to one server that starts and drains
 *   call.ts           what a call and its caller are, and the type of a handler
 *   routes.ts         one route for each RPC: its handler, access rule and largest request
 *   method-rows.ts    the type of a table with a row for each method; access.ts and effects.ts are such tables
 *   access.ts         which caller may call which method
 *   effects.ts        which methods change stored data
 *   holder.ts         the holder whose share of a bounded resource a call uses
 *   errors.ts         from a reason to a gRPC status
 *   error-size.ts     how many bytes of an error are sent
 *   reading-error.ts  why a request could not be decoded, without its text
 */
import type {
  DescMessage,
  DescMethod,
  DescMethodUnary,
  DescService,
  MessageInitShape,
  MessageShape,
} from "@bufbuild/protobuf";

/** The scopes of service credentials, a closed set. `admin` includes the others. */
export type ServiceScope = "verify" | "manage" | "admin";

/** The identity behind a call, as its credential proves it. */
export type Caller =
  | { readonly kind: "anonymous" }
  | { readonly kind: "user"; readonly userId: string; readonly sessionId: string }
  | { readonly kind: "service"; readonly credentialId: string; readonly scopes: readonly ServiceScope[] };

/** The part of a call that precedes its body: enough to admit or refuse the call. */
export interface CallHead {
  /** All values of a request header, in order; empty without one. `name` in lower case. */
  header(name: string): readonly string[];
  /** The address at the other end of the connection: the client's, or a proxy's. */
  readonly peerAddress: string;
  /**
   * The connection's identity: the same object for all its calls. Results of one call are kept under it for the next.
   */
  readonly connection: object;
  /** The HTTP method and path template of a REST request, such as `GET /v1/keys/{key_id}`; undefined on other lanes. */
  readonly httpRoute?: string;
}

/** An admitted call, as its handler sees it. */
export interface Call {
  readonly method: DescMethod;
  readonly caller: Caller;
  /** The client's address, through trusted proxies. */
  readonly clientIp: string;
  /** The client's `user-agent`, cut to 256 characters; empty without one. */
  readonly userAgent: string;
  /** Aborts at the deadline, and when the client disconnects or cancels. */
  readonly signal: AbortSignal;
  /** Milliseconds until the deadline; Infinity without one. */
  remainingMs(): number;
  /** Adds a header to the response, which is a message or an error. `name` in lower case. */
  addHeader(name: string, value: string): void;
  /** Adds a trailer in the same way. */
  addTrailer(name: string, value: string): void;
}

/** A header or trailer; names in lower case. */
export type MetadataField = readonly [name: string, value: string];

/** A response that its handler has encoded: for the few methods whose main cost is the encoding. */
export class EncodedMessage {
  readonly bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }
}

/**
 * Implements one unary RPC. It throws DomainError, or rejects with it, for each fault that the caller must learn of. A
 * handler that does not wait may return its response itself, because a promise costs more time than a verdict.
 */
export type UnaryHandler<M extends DescMethod> =
  M extends DescMethodUnary<infer I, infer O>
    ? (request: MessageShape<I>, call: Call) => UnaryResponse<O> | Promise<UnaryResponse<O>>
    : never;

type UnaryResponse<O extends DescMessage> = MessageInitShape<O> | EncodedMessage;

/** The handlers of a service's unary RPCs, by local name. A method without a handler answers UNIMPLEMENTED. */
export type UnaryHandlers<S extends DescService> = {
  [K in keyof S["method"] as S["method"][K] extends DescMethodUnary ? K : never]?: UnaryHandler<S["method"][K]>;
};

/** A unary handler with its types erased, as a route keeps it. */
export type AnyUnaryHandler = (request: unknown, call: Call) => unknown;
