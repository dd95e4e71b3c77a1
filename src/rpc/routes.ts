import type {
  DescMethod,
  DescMethodBiDiStreaming,
  DescMethodServerStreaming,
  DescService,
  MessageInitShape,
  MessageShape,
} from "@bufbuild/protobuf";
import { DomainError } from "../lib/errors.ts";
import { type AnyUnaryHandler, type Call, EncodedMessage, type ServiceScope, type UnaryHandlers } from "./call.ts";

/** The callers that may call a method: anyone, or users and services with one of the scopes. */
export type AccessRule = "anyone" | { user?: true; scopes?: ServiceScope[] };

/**
 * Implements one streaming RPC. The iterator that it returns must end soon after `call.signal` aborts. It throws
 * DomainError for each fault that the caller must learn of.
 */
export type StreamHandler<M extends DescMethod> =
  M extends DescMethodServerStreaming<infer I, infer O>
    ? (request: MessageShape<I>, call: Call) => AsyncIterable<MessageInitShape<O>>
    : M extends DescMethodBiDiStreaming<infer I, infer O>
      ? (requests: AsyncIterable<MessageShape<I>>, call: Call) => AsyncIterable<MessageInitShape<O>>
      : never;

/** The handlers of a service's streaming RPCs, by local name. A method without a handler answers UNIMPLEMENTED. */
export type StreamHandlers<S extends DescService> = {
  [K in keyof S["method"] as S["method"][K] extends DescMethodServerStreaming | DescMethodBiDiStreaming
    ? K
    : never]?: StreamHandler<S["method"][K]>;
};

/** A stream handler with its types erased. */
export type AnyStreamHandler = (requests: unknown, call: Call) => AsyncIterable<unknown>;

/** A service and its handlers, with their types erased. Made by `bind` or `bindBytes`. */
export interface Binding {
  readonly service: DescService;
  readonly handlers: Readonly<Record<string, unknown>>;
  /** Read the requests of some methods, in place of protobuf-es. */
  readonly readers?: Readonly<Record<string, RequestReader>>;
}

/** Reads a request from the bytes of its message. @throws for bytes that are no protobuf */
export type RequestReader = (bytes: Uint8Array) => unknown;

/**
 * The implementation of a unary RPC that reads and writes its messages itself: for the few methods whose main cost is
 * the decoding and the encoding. `handle` throws as a UnaryHandler does.
 */
export interface ByteHandler<R> {
  readonly read: (bytes: Uint8Array) => R;
  readonly handle: (request: R, call: Call) => Uint8Array | Promise<Uint8Array>;
}

/** The handlers of all RPCs of a service, unary and streaming. */
export type ServiceHandlers<S extends DescService> = UnaryHandlers<S> & StreamHandlers<S>;

/**
 * Makes a binding of a service to handlers of its own type.
 *
 * @param readers for methods whose requests are not read by protobuf-es; each returns what the handler takes
 */
export function bind<S extends DescService>(
  service: S,
  handlers: ServiceHandlers<S>,
  readers: Readonly<Record<string, RequestReader>> = {},
): Binding {
  return { service, handlers: handlers as Readonly<Record<string, unknown>>, readers };
}

/** Makes a binding of a service whose only method reads and writes bytes. */
export function bindBytes<R>(service: DescService, { read, handle }: ByteHandler<R>): Binding {
  const [{ localName }] = service.methods as [DescMethod];
  const encoded = (bytes: Uint8Array) => new EncodedMessage(bytes);
  const handler = (request: R, call: Call) => {
    const bytes = handle(request, call);
    return bytes instanceof Promise ? bytes.then(encoded) : encoded(bytes);
  };
  return { service, handlers: { [localName]: handler }, readers: { [localName]: read } };
}

/** One RPC, as every lane sees it. A lane runs the handler only through `Concerns`. */
export type Route = UnaryRoute | StreamRoute;

interface RouteBase {
  /** `/latchkey.v1.KeyService/VerifyKey` */
  readonly path: string;
  /** `latchkey.v1.KeyService.VerifyKey` */
  readonly name: string;
  readonly method: DescMethod;
  readonly rule: AccessRule;
  /** Whether the method changes stored data for its caller, and counts against the caller's rate of changes. */
  readonly isChange: boolean;
  /** The largest request message in bytes, after decompression. */
  readonly maxRequestBytes: number;
}

export interface UnaryRoute extends RouteBase {
  readonly kind: "unary";
  readonly handler: AnyUnaryHandler;
  /** Makes what the handler takes from the bytes of a message. Undefined: the handler takes a message. */
  readonly readBytes?: RequestReader | undefined;
}

export interface StreamRoute extends RouteBase {
  readonly kind: "stream";
  readonly handler: AnyStreamHandler;
}

/** Whether services call the method for each of their requests. Such a call needs no database, and costs microseconds. */
export function isVerification({ rule }: Route): boolean {
  return rule !== "anyone" && (rule.scopes?.includes("verify") ?? false);
}

const MAX_REQUEST_BYTES = 64 * 1024;
/** Larger maximums, by the method's full name: those of batches, and of messages that a caller's caller fills. */
const LARGER_REQUEST_BYTES: Readonly<Record<string, number>> = {
  // Envoy takes 60 KiB of headers unless it is told otherwise, and sends the path and the host twice. A check that is
  // refused for its size would let a request pass where Envoy has `failure_mode_allow`.
  "envoy.service.auth.v3.Authorization.Check": 256 * 1024,
  "latchkey.v1.KeyService.BatchVerifyKeys": 256 * 1024,
  "latchkey.v1.KeyService.BatchCheckRateLimits": 256 * 1024,
  // Envoy's clients may send 60 KiB of headers, and several descriptors may have the same header.
  "envoy.service.ratelimit.v3.RateLimitService.ShouldRateLimit": 256 * 1024,
};

/** The tables with a row for each method. Both throw for a method without a row. */
export interface MethodTables {
  accessRule(method: DescMethod): AccessRule;
  /** Whether the method changes stored data for its caller. */
  isChange(method: DescMethod): boolean;
}

/**
 * Makes one route for each RPC of all services, by path.
 *
 * @throws {Error} for a method without an access rule, a service that is bound twice, or a handler without a method
 */
export function createRoutes(
  bindings: readonly Binding[],
  { accessRule, isChange }: MethodTables,
): ReadonlyMap<string, Route> {
  const routes = new Map<string, Route>();
  for (const { service, handlers, readers } of bindings) {
    for (const name of Object.keys(handlers)) {
      if (service.method[name] === undefined) throw new Error(`${service.typeName} has no method ${name}`);
    }
    for (const method of service.methods) {
      const { localName } = method;
      const [handler, reader] = [handlers[localName], readers?.[localName]];
      const route = createRoute(method, { rule: accessRule(method), isChange: isChange(method), handler, reader });
      if (routes.has(route.path)) throw new Error(`${service.typeName} is bound twice`);
      routes.set(route.path, route);
    }
  }
  return routes;
}

interface RouteParts {
  readonly rule: AccessRule | undefined;
  readonly isChange: boolean;
  readonly handler: unknown;
  readonly reader: RequestReader | undefined;
}

function createRoute(method: DescMethod, { rule, isChange, handler, reader }: RouteParts): Route {
  const name = `${method.parent.typeName}.${method.name}`;
  if (rule === undefined) throw new Error(`${name} has no access rule`);
  const base = {
    path: `/${method.parent.typeName}/${method.name}`,
    name,
    method,
    rule,
    isChange,
    maxRequestBytes: LARGER_REQUEST_BYTES[name] ?? MAX_REQUEST_BYTES,
  };
  const unimplemented = () => {
    throw new DomainError("NOT_IMPLEMENTED", `this server does not implement ${name}`);
  };
  if (method.methodKind !== "unary") {
    return { ...base, kind: "stream", handler: (handler ?? unimplemented) as AnyStreamHandler };
  }
  return { ...base, kind: "unary", handler: (handler ?? unimplemented) as AnyUnaryHandler, readBytes: reader };
}
