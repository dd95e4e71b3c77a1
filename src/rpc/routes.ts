import type {
  DescMethod,
  DescMethodBiDiStreaming,
  DescMethodServerStreaming,
  DescService,
  MessageInitShape,
  MessageShape,
} from "@bufbuild/protobuf";
import { DomainError } from "../lib/errors.ts";
import type { AnyUnaryHandler, Call, ServiceScope, UnaryHandlers } from "./call.ts";

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

/** A service and its handlers, with their types erased. Made by `bind`. */
export interface Binding {
  readonly service: DescService;
  readonly handlers: Readonly<Record<string, unknown>>;
}

/** The handlers of all RPCs of a service, unary and streaming. */
export type ServiceHandlers<S extends DescService> = UnaryHandlers<S> & StreamHandlers<S>;

/** Makes a binding of a service to handlers of its own type. */
export function bind<S extends DescService>(service: S, handlers: ServiceHandlers<S>): Binding {
  return { service, handlers: handlers as Readonly<Record<string, unknown>> };
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
/** Larger maximums, by the method's full name. Batches have one. */
const LARGER_REQUEST_BYTES: Readonly<Record<string, number>> = {
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
  for (const { service, handlers } of bindings) {
    for (const name of Object.keys(handlers)) {
      if (service.method[name] === undefined) throw new Error(`${service.typeName} has no method ${name}`);
    }
    for (const method of service.methods) {
      const route = createRoute(method, accessRule(method), isChange(method), handlers[method.localName]);
      if (routes.has(route.path)) throw new Error(`${service.typeName} is bound twice`);
      routes.set(route.path, route);
    }
  }
  return routes;
}

function createRoute(method: DescMethod, rule: AccessRule | undefined, isChange: boolean, handler: unknown): Route {
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
  return method.methodKind === "unary"
    ? { ...base, kind: "unary", handler: (handler ?? unimplemented) as AnyUnaryHandler }
    : { ...base, kind: "stream", handler: (handler ?? unimplemented) as AnyStreamHandler };
}
