/**
 * Interceptors for services of Connect. `context.values.get(latchkeyKey)` has what was found. A stream is judged at its
 * start, and again whenever its credential may have changed: `context.signal` is aborted when it must end.
 */
import type { DescMethod } from "@bufbuild/protobuf";
import {
  type ContextValues,
  createContextKey,
  createContextValues,
  type HandlerContext,
  type Interceptor,
  type StreamRequest,
  type StreamResponse,
} from "@connectrpc/connect";
import type { ConnectNodeAdapterOptions } from "@connectrpc/connect-node";
import { grpcMetadata } from "../../src/answers/grpc-answer.ts";
import { decisionFields } from "../../src/answers/http-answer.ts";
import { type Door, doorOf } from "./door.ts";
import type { RealmGuard } from "./guards.ts";
import { rawHeaderValues } from "./node-http.ts";
import type { Found, RequestFacts, Watch } from "./protect.ts";
import { connectError } from "./rpc-answer.ts";

export type { ApiKeyOptions, RateLimitOptions, UserOptions } from "./guards.ts";
export type { Found } from "./protect.ts";

/** The key of a context for what was found; undefined where nothing was protected. */
export const latchkeyKey = createContextKey<Found | undefined>(undefined, { description: "what latchkey found" });

/** The part of a request that options may be functions of: an interceptor's request and a handler's context have it. */
export interface ConnectRequest {
  readonly method: DescMethod;
  readonly header: Headers;
  readonly values: ContextValues;
}

type Args = [request: unknown, context: HandlerContext];

interface Peer {
  readonly address: string | undefined;
  readonly rawHeaders: readonly string[];
}

type NodeServerRequest = Parameters<NonNullable<ConnectNodeAdapterOptions["contextValues"]>>[0];

const peerKey = createContextKey<Peer | undefined>(undefined, { description: "the peer of a request" });

/**
 * For `connectNodeAdapter({ contextValues: latchkeyContext })`: interceptors don't see the sender's address by
 * themselves, and without it a key that is bound to networks is refused.
 *
 * @param values context values of your own to add to
 */
export function latchkeyContext(request: NodeServerRequest, values = createContextValues()): ContextValues {
  return values.set(peerKey, { address: request.socket?.remoteAddress, rawHeaders: request.rawHeaders });
}

function factsOf({ method, header, values }: ConnectRequest): RequestFacts {
  const peer = values.get(peerKey);
  const joined = (name: string) => {
    const value = header.get(name);
    return value === null ? [] : [value];
  };
  return {
    values: peer === undefined ? joined : rawHeaderValues(peer.rawHeaders),
    address: peer?.address,
    method: `/${method.parent.typeName}/${method.name}`,
  };
}

/** @throws ConnectError for a request that is refused */
async function admit(
  { guard, realm }: RealmGuard<ConnectRequest>,
  request: ConnectRequest,
): Promise<Watch | undefined> {
  const { decision, found, watch } = await guard(request, factsOf(request), request.values.get(latchkeyKey));
  if (!decision.admitted) throw connectError(decision, realm);
  request.values.set(latchkeyKey, found);
  return watch;
}

function addFields(header: Headers, { realm }: RealmGuard<ConnectRequest>, values: ContextValues): void {
  const windows = values.get(latchkeyKey)?.rateLimits ?? [];
  for (const [name, value] of grpcMetadata(decisionFields({ admitted: true, windows }, realm))) header.set(name, value);
}

type NextOfStream = (request: StreamRequest) => Promise<StreamResponse>;

interface Watched {
  readonly next: NextOfStream;
  readonly watch: Watch;
  readonly realm: string;
}

/** Serves a stream until its end, or until its credential is refused. */
async function whileAdmitted(request: StreamRequest, { next, watch, realm }: Watched): Promise<StreamResponse> {
  const refused = new AbortController();
  const unwatch = watch((denial) => refused.abort(connectError(denial, realm)));
  // A handler that ignores its signal may never end its messages.
  request.signal.addEventListener("abort", unwatch, { once: true });
  try {
    const signal = AbortSignal.any([request.signal, refused.signal]);
    const response = await unlessAborted(next({ ...request, signal }), refused.signal);
    return { ...response, message: untilAborted(response.message, refused.signal, unwatch) };
  } catch (error) {
    unwatch();
    throw error;
  }
}

/** @param onEnd called at the end of the messages, or when they are no longer read */
async function* untilAborted<T>(messages: AsyncIterable<T>, signal: AbortSignal, onEnd: () => void): AsyncGenerator<T> {
  const iterator = messages[Symbol.asyncIterator]();
  try {
    for (;;) {
      const { done, value } = await unlessAborted(iterator.next(), signal);
      if (done === true) return;
      yield value;
    }
  } finally {
    onEnd();
    // Not awaited: a handler that ignores its signal must not hold the end.
    iterator.return?.().catch(() => {});
  }
}

/**
 * Settles as the promise, or rejects with the signal's reason. A race with one lasting promise would grow with each
 * message.
 */
function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(signal.reason);
    signal.addEventListener("abort", onAbort, { once: true });
    if (signal.aborted) onAbort();
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", onAbort));
  });
}

function fromContext({ method, requestHeader, values }: HandlerContext): ConnectRequest {
  return { method, header: requestHeader, values };
}

const door: Door<ConnectRequest, Interceptor, Args> = doorOf({
  middleware: (guard) => (next) => async (request) => {
    const { method, header, contextValues } = request;
    const watch = await admit(guard, { method, header, values: contextValues });
    const response =
      request.stream && watch !== undefined
        ? await whileAdmitted(request, { next: next as NextOfStream, watch, realm: guard.realm })
        : await next(request);
    addFields(response.header, guard, contextValues);
    return response;
  },
  around: async (guard, [, context], run) => {
    await admit(guard, fromContext(context));
    addFields(context.responseHeader, guard, context.values);
    return run();
  },
  // A method that answers with a stream is an async generator, and must stay one.
  wrap: (guard, value) => {
    if (Object.prototype.toString.call(value) !== "[object AsyncGeneratorFunction]") return undefined;
    return async function* guarded(this: unknown, ...args: Args) {
      await admit(guard, fromContext(args[1]));
      addFields(args[1].responseHeader, guard, args[1].values);
      yield* value.apply(this, args) as AsyncIterable<unknown>;
    };
  },
});

/**
 * Requires an API key: `connectNodeAdapter({ interceptors: [requireApiKey(latchkey, options)], contextValues:
 * latchkeyContext, routes })`. `requireApiKey.method` decorates a class method.
 */
export const requireApiKey: Door<ConnectRequest, Interceptor, Args>["requireApiKey"] = door.requireApiKey;
/** Limits requests by a subject that is no key, such as an address. Used as `requireApiKey`. */
export const rateLimit: Door<ConnectRequest, Interceptor, Args>["rateLimit"] = door.rateLimit;
/** Requires the access token of a person. Used as `requireApiKey`. */
export const requireUser: Door<ConnectRequest, Interceptor, Args>["requireUser"] = door.requireUser;
