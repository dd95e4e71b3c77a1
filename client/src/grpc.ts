/**
 * Interceptors for servers of @grpc/grpc-js. `latchkeyOf(call)` has what was found. A stream is judged at its start,
 * and again whenever its credential may have changed: its handler gets `cancelled` when it must end.
 *
 * grpc-js joins repeated headers with commas, except `authorization`, of which Node keeps the first.
 */
import {
  type Metadata as GrpcMetadata,
  Metadata,
  ServerInterceptingCall,
  type ServerInterceptingCallInterface,
  type ServerInterceptor,
  type ServerUnaryCall,
} from "@grpc/grpc-js";
import type { Denial } from "../../src/answers/decision.ts";
import { grpcMetadata } from "../../src/answers/grpc-answer.ts";
import { decisionFields } from "../../src/answers/http-answer.ts";
import { withoutPort } from "../../src/answers/request-facts.ts";
import { type Door, doorOf } from "./door.ts";
import type { RealmGuard } from "./guards.ts";
import type { Found, Guarded, RequestFacts, Watch } from "./protect.ts";
import { grpcStatus } from "./rpc-answer.ts";

export type { ApiKeyOptions, RateLimitOptions, UserOptions } from "./guards.ts";
export type { Found } from "./protect.ts";

/** The part of a call that options may be functions of. */
export interface GrpcRequest {
  /** Such as `/shop.v1.Orders/Get`. */
  readonly path: string;
  readonly metadata: GrpcMetadata;
  getPeer(): string;
}

/** The part that handlers' calls of all four kinds have. */
type HandlerCall = Pick<
  ServerUnaryCall<unknown, unknown>,
  "metadata" | "getPath" | "getPeer" | "sendMetadata" | "emit"
>;
type Args = [call: HandlerCall, callback?: (error: object) => void];

/**
 * The facts of each call by its metadata object. An interceptor hands nothing else on to the handler, and no caller can
 * forge the object.
 */
const found = new WeakMap<GrpcMetadata, Found>();

/** The facts that @latchkey/client found about this call; undefined if nothing protected it. */
export function latchkeyOf(call: { readonly metadata: GrpcMetadata }): Found | undefined {
  return found.get(call.metadata);
}

function factsOf({ path, metadata, getPeer }: GrpcRequest): RequestFacts {
  return {
    values: (name) => metadata.get(name).map(String),
    address: withoutPort(getPeer()),
    method: path,
  };
}

async function judge({ guard }: RealmGuard<GrpcRequest>, request: GrpcRequest): Promise<Guarded> {
  const guarded = await guard(request, factsOf(request), found.get(request.metadata));
  if (guarded.decision.admitted) found.set(request.metadata, guarded.found);
  return guarded;
}

function statusOf(denial: Denial, realm: string) {
  const { code, message, metadata: fields, details } = grpcStatus(denial, realm);
  const metadata = new Metadata();
  for (const [name, value] of fields) metadata.set(name, value);
  metadata.set("grpc-status-details-bin", details);
  return { code, details: message, metadata };
}

function addFields(to: GrpcMetadata, request: GrpcRequest, realm: string): GrpcMetadata {
  const windows = found.get(request.metadata)?.rateLimits ?? [];
  for (const [name, value] of grpcMetadata(decisionFields({ admitted: true, windows }, realm))) to.set(name, value);
  return to;
}

function interceptor(guard: RealmGuard<GrpcRequest>): ServerInterceptor {
  return ({ path, requestStream, responseStream }, call) => {
    let request: GrpcRequest | undefined;
    const life = new StreamLife((denial) => call.sendStatus(statusOf(denial, guard.realm)));
    const isStream = requestStream || responseStream;
    return new ServerInterceptingCall(call, {
      start: (next) =>
        next({
          onReceiveMetadata: (metadata, proceed) => {
            request = { path, metadata, getPeer: () => call.getPeer() };
            void decide(guard, request, call, (watch) => {
              if (isStream && watch !== undefined) life.begin(watch);
              proceed(metadata);
            });
          },
          // Also told after each status.
          onCancel: () => life.end(),
        }),
      sendMetadata: (metadata, next) =>
        next(request === undefined ? metadata : addFields(metadata, request, guard.realm)),
      sendMessage: (message, next) => {
        if (!life.isRefused) next(message);
      },
      sendStatus: (status, next) => {
        life.end();
        if (!life.isRefused) next(status);
      },
    });
  };
}

/** A stream, from its admission to its end. After a refusal the handler sends nothing. */
class StreamLife {
  readonly #refuse: (denial: Denial) => void;
  #unwatch: (() => void) | undefined;
  #hasEnded = false;
  isRefused = false;

  /** @param refuse sends the status */
  constructor(refuse: (denial: Denial) => void) {
    this.#refuse = refuse;
  }

  begin(watch: Watch): void {
    if (this.#hasEnded) return;
    this.#unwatch = watch((denial) => {
      this.isRefused = true;
      this.end();
      this.#refuse(denial);
    });
  }

  end(): void {
    this.#hasEnded = true;
    this.#unwatch?.();
  }
}

async function decide(
  guard: RealmGuard<GrpcRequest>,
  request: GrpcRequest,
  call: ServerInterceptingCallInterface,
  proceed: (watch: Watch | undefined) => void,
): Promise<void> {
  try {
    const { decision, watch } = await judge(guard, request);
    if (decision.admitted) proceed(watch);
    else call.sendStatus(statusOf(decision, guard.realm));
  } catch (error) {
    // A function of the options failed. grpc-js has no place for an interceptor's error.
    process.emitWarning(error instanceof Error ? error : String(error));
    call.sendStatus(statusOf({ admitted: false, code: "CONFIGURATION", windows: [] }, guard.realm));
  }
}

const door: Door<GrpcRequest, ServerInterceptor, Args> = doorOf({
  middleware: interceptor,
  around: async (guard, [call, callback], run) => {
    const request = { path: call.getPath(), metadata: call.metadata, getPeer: () => call.getPeer() };
    try {
      const { decision } = await judge(guard, request);
      if (!decision.admitted) throw statusOf(decision, guard.realm);
    } catch (error) {
      if (callback !== undefined) callback(error as object);
      else call.emit("error", error);
      return;
    }
    const fields = addFields(new Metadata(), request, guard.realm);
    if (Object.keys(fields.getMap()).length > 0) call.sendMetadata(fields);
    return run();
  },
});

/**
 * Requires an API key: `new Server({ interceptors: [requireApiKey(latchkey, options)] })`. `requireApiKey.method`
 * decorates a class method.
 */
export const requireApiKey: Door<GrpcRequest, ServerInterceptor, Args>["requireApiKey"] = door.requireApiKey;
/** Limits requests by a subject that is no key, such as an address. Used as `requireApiKey`. */
export const rateLimit: Door<GrpcRequest, ServerInterceptor, Args>["rateLimit"] = door.rateLimit;
/** Requires the access token of a person. Used as `requireApiKey`. */
export const requireUser: Door<GrpcRequest, ServerInterceptor, Args>["requireUser"] = door.requireUser;
