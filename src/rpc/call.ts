/**
 * FRONT DOOR. What a call is before any wire: headers in, message in, message and trailers out. Nothing in this file,
 * and nothing in a handler, knows node:http2 or Connect, because calls come by more than one lane.
 *
 *   port.ts          one TCP port: h2c, HTTP/1.1, TLS
 *   unary-lane.ts    unary gRPC, the short way
 *   connect-lane.ts  everything else: Connect, gRPC-Web and gRPC through connect-node
 *   grpc-web-text.ts gRPC-Web in base64, on top of the binary form
 *   concerns.ts      what every call passes, whatever its lane: access, deadline, errors, log
 *   call-capacity.ts how many calls there may be at a time, shared by caller, and which gives way
 *   turn-budget.ts   how much begins in one turn of the event loop
 *   read-turns.ts    how much is read of one caller's connections in a turn (reading.ts is a connection)
 *   http1-server.ts  HTTP/1.1, one request at a time on a connection (paced-socket.ts)
 *   method-rows.ts   a table with a row for each method: access.ts and effects.ts are such tables
 *   access.ts        who may call what
 *   effects.ts       which methods change something; change-rate.ts counts those of each caller
 *   refused-calls.ts which calls that failed are put on record
 *   caller.ts        from headers to a Caller
 *   errors.ts        from a reason to a gRPC status
 *   *-handlers.ts    from messages to the rooms' verbs and back
 */
import type {
  DescMessage,
  DescMethod,
  DescMethodUnary,
  DescService,
  MessageInitShape,
  MessageShape,
} from "@bufbuild/protobuf";

/** Scopes of a service credential, a closed set. `admin` includes the others. */
export type ServiceScope = "verify" | "manage" | "admin";

/** Who makes a call. */
export type Caller =
  | { readonly kind: "anonymous" }
  | { readonly kind: "user"; readonly userId: string; readonly sessionId: string }
  | { readonly kind: "service"; readonly credentialId: string; readonly scopes: readonly ServiceScope[] };

/** What is known of a call before its body: enough to admit or refuse it. */
export interface CallHead {
  /** All values of a request header, in order; empty where there is none. Names in lower case. */
  header(name: string): readonly string[];
  /** Address of the connection's other end. */
  readonly peerAddress: string;
  /** The same object for all calls of one connection, so that what is known of one call can be remembered for the next. */
  readonly connection: object;
}

/** An admitted call, as handlers see it. */
export interface Call {
  readonly method: DescMethod;
  readonly caller: Caller;
  /** The client's address, through trusted proxies. */
  readonly clientIp: string;
  /** The client's `user-agent`, cut to 256 characters; empty where there is none. */
  readonly userAgent: string;
  /** Aborts at the deadline, and when the client is gone. */
  readonly signal: AbortSignal;
  /** Time left until the deadline, Infinity without one. */
  remainingMs(): number;
  /** Sends a header with the answer, be it a message or an error. `name` in lower case. */
  addHeader(name: string, value: string): void;
  /** The same for a trailer. */
  addTrailer(name: string, value: string): void;
}

/** A header or trailer; names in lower case. */
export type MetadataField = readonly [name: string, value: string];

/** A response that its handler has encoded itself: for the few calls of which encoding is most of the cost. */
export class EncodedMessage {
  readonly bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }
}

/**
 * Implements one unary RPC. Throws DomainError for what the caller must be told, or rejects with it. A handler that has
 * nothing to wait for may answer at once: a promise costs more than a verdict.
 */
export type UnaryHandler<M extends DescMethod> =
  M extends DescMethodUnary<infer I, infer O>
    ? (request: MessageShape<I>, call: Call) => Answered<O> | Promise<Answered<O>>
    : never;

type Answered<O extends DescMessage> = MessageInitShape<O> | EncodedMessage;

/** Handlers of a service's unary RPCs by local name. A method without one is UNIMPLEMENTED. */
export type UnaryHandlers<S extends DescService> = {
  [K in keyof S["method"] as S["method"][K] extends DescMethodUnary ? K : never]?: UnaryHandler<S["method"][K]>;
};

/** A handler with its types erased, as the lanes keep it. */
export type AnyUnaryHandler = (request: unknown, call: Call) => unknown;
