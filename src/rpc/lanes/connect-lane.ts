import { fromBinary, type Message, toBinary } from "@bufbuild/protobuf";
import {
  ConnectError,
  createConnectRouter,
  createContextKey,
  createContextValues,
  type HandlerContext,
} from "@connectrpc/connect";
import type { UniversalHandler } from "@connectrpc/connect/protocol";
import { errorToJsonBytes } from "@connectrpc/connect/protocol-connect";
import { setTrailerStatus } from "@connectrpc/connect/protocol-grpc";
import { compressionGzip } from "@connectrpc/connect-node";
import { DomainError } from "../../lib/errors.ts";
import { EncodedMessage } from "../call.ts";
import type { Concerns } from "../calls/concerns.ts";
import type { LiveCall } from "../calls/live-call.ts";
import { toConnectError } from "../errors.ts";
import type { Route } from "../routes.ts";
import {
  connectHeaders,
  cutAnswer,
  dropRestWhenAnswered,
  endAnswer,
  setHead,
  type WireRequest,
  type WireResponse,
  wireHead,
  writeAnswer,
} from "./connect-http.ts";
import { MAX_RESPONSE_BYTES } from "./grpc-frame.ts";
import { binaryTypeOf, bytesOfText, textAnswer } from "./grpc-web-text.ts";
import { heldBody } from "./held-body.ts";
import { JSON_OPTIONS } from "./json-options.ts";
import { connectLaneOf, type LaneCalls } from "./lane-calls.ts";
import { headerValues } from "./raw-headers.ts";
import { readTimeout } from "./timeout.ts";
import type { UnreadAnswers } from "./unread-answers.ts";

/** Answers a request for an RPC, and returns true; returns false for any other request. */
export type Lane = (request: WireRequest, response: WireResponse) => boolean;

export interface ConnectLaneDeps {
  readonly routes: ReadonlyMap<string, Route>;
  readonly concerns: Concerns;
  readonly unread: UnreadAnswers;
  /** Counts the calls that it takes. */
  readonly calls: LaneCalls;
}

/** One request under way. */
class ConnectExchange {
  readonly route: Route;
  readonly request: WireRequest;
  /** undefined until Connect has read the headers. */
  call: LiveCall | undefined;
  answered = false;

  constructor(route: Route, request: WireRequest) {
    this.route = route;
    this.request = request;
  }
}

const CONNECT_EXCHANGE = createContextKey<ConnectExchange | undefined>(undefined);

/** Serves gRPC, gRPC-Web and Connect on HTTP/1.1 and HTTP/2, through connect-es. */
export function createConnectLane(deps: ConnectLaneDeps): Lane {
  const handlers = createHandlers(deps);
  return (request, response) => {
    const path = pathOf(request);
    const route = deps.routes.get(path);
    if (route !== undefined) void serve(deps, handlers.get(path)!, new ConnectExchange(route, request), response);
    else if (isRpc(request)) refuseUnknown(deps.unread, request, response);
    else return false;
    return true;
  };
}

/** Connect's handler for each route, around Concerns. */
function createHandlers({ routes, concerns, calls }: ConnectLaneDeps): ReadonlyMap<string, UniversalHandler> {
  const router = createConnectRouter({
    acceptCompression: [compressionGzip],
    writeMaxBytes: MAX_RESPONSE_BYTES,
    jsonOptions: JSON_OPTIONS,
    requestGate: (context) => {
      calls[connectLaneOf(context.protocolName)]++;
      return admit(concerns, context);
    },
  });
  for (const route of routes.values()) {
    const { method, maxRequestBytes } = route;
    const perform =
      route.kind === "unary"
        ? async (message: Message, context: HandlerContext) => {
            const call = callOf(context);
            const request = route.readBytes ? route.readBytes(toBinary(method.input, message)) : message;
            try {
              const response = await concerns.perform(call, request);
              return response instanceof EncodedMessage ? fromBinary(method.output, response.bytes) : response;
            } finally {
              passFields(call, context);
            }
          }
        : (requests: unknown, context: HandlerContext) => concerns.performStream(callOf(context), requests);
    router.rpc(method, perform as never, { readMaxBytes: maxRequestBytes });
  }
  return new Map(router.handlers.map((handler) => [handler.requestPath, handler]));
}

/** Connect calls this with the headers, before it reads a byte of the body. */
async function admit(concerns: Concerns, context: HandlerContext): Promise<void> {
  const exchange = context.values.get(CONNECT_EXCHANGE)!;
  const kind = context.protocolName === "connect" ? "connect-timeout-ms" : "grpc-timeout";
  const timeout = readTimeout(kind, headerValues(exchange.request.rawHeaders, kind));
  const timeoutMs = typeof timeout === "number" ? timeout : undefined;
  const call = concerns.begin(exchange.route, wireHead(exchange.request), timeoutMs);
  exchange.call = call;
  overhearErrors(context as AbortableContext, (error) => {
    concerns.fail(call, error);
    passFields(call, context);
  });
  if (timeout instanceof DomainError) throw concerns.fail(call, timeout);
  await concerns.admit(call);
}

/** The context that Connect's handlers get. `abort` is no documented interface; tests would notice its removal. */
interface AbortableContext extends HandlerContext {
  abort(reason?: unknown): void;
}

/**
 * Calls `onError` with each error before Connect writes it: Connect first calls `abort` with the error. Only there can
 * errors of Connect's own codec be seen and reworded (too large, not JSON, an answer that can't be encoded).
 */
function overhearErrors(context: AbortableContext, onError: (error: ConnectError) => void): void {
  const abort = context.abort;
  context.abort = (reason) => {
    if (reason instanceof ConnectError) onError(reason);
    abort(reason);
  };
}

/** Hands the fields that a call has added since the last time to Connect. Its own unary answers have only headers. */
function passFields(call: LiveCall, context: HandlerContext): void {
  const hasTrailers = context.protocolName !== "connect" || call.route.kind === "stream";
  const trailer = hasTrailers ? context.responseTrailer : context.responseHeader;
  for (const field of call.answerHeaders ?? []) context.responseHeader.append(...field);
  for (const field of call.answerTrailers ?? []) trailer.append(...field);
  call.answerHeaders = undefined;
  call.answerTrailers = undefined;
}

function callOf(context: HandlerContext): LiveCall {
  return context.values.get(CONNECT_EXCHANGE)!.call!;
}

/** Serves one request. Never rejects. */
async function serve(
  { concerns, unread }: ConnectLaneDeps,
  handler: UniversalHandler,
  exchange: ConnectExchange,
  response: WireResponse,
): Promise<void> {
  const { request, route } = exchange;
  const gone = new AbortController();
  response.on("close", () => {
    if (exchange.answered) return;
    // Connect makes several errors for each abort, so the aborts of a thousand streams would take 0.3 s of a turn.
    if (exchange.call === undefined) gone.abort();
    else concerns.cancel(exchange.call, () => void (exchange.answered || gone.abort()));
  });
  dropRestWhenAnswered(request, response);
  const header = connectHeaders(request);
  const binaryType = binaryTypeOf(header.get("content-type"));
  if (binaryType !== undefined) header.set("content-type", binaryType);
  try {
    const answer = await handler({
      httpVersion: request.httpVersion,
      method: request.method ?? "",
      // A fixed host, because Connect reads only the URL's query, and the client's own authority may be invalid in a
      // URL.
      url: `http://latchkey${route.path}`,
      header,
      body: readBody(concerns, exchange, binaryType !== undefined),
      signal: gone.signal,
      contextValues: createContextValues().set(CONNECT_EXCHANGE, exchange),
    });
    await writeAnswer(binaryType === undefined ? answer : textAnswer(answer), response, unread);
    exchange.answered = true;
  } catch (error) {
    if (exchange.call !== undefined) concerns.fail(exchange.call, error);
    cutAnswer(response);
  }
}

/** The call has begun, because Connect reads nothing before its `requestGate` resolves. */
async function* readBody(concerns: Concerns, exchange: ConnectExchange, isText: boolean): AsyncGenerator<Uint8Array> {
  yield* heldBody(concerns, exchange.call!, exchange.request, isText ? bytesOfText : undefined);
}

function pathOf(request: WireRequest): string {
  const url = request.url ?? "";
  const query = url.indexOf("?");
  return query < 0 ? url : url.slice(0, query);
}

const GRPC_TYPE = /^application\/grpc(-web)?(-text)?([+;]|$)/i;
const CONNECT_TYPE = /^application\/(proto|json|connect\+proto|connect\+json)(;|$)/i;

function isRpc(request: WireRequest): boolean {
  const contentType = request.headers["content-type"] ?? "";
  return request.method === "POST" && (GRPC_TYPE.test(contentType) || CONNECT_TYPE.test(contentType));
}

/** Answers UNIMPLEMENTED in the client's protocol. */
function refuseUnknown(unread: UnreadAnswers, request: WireRequest, response: WireResponse): void {
  const error = toConnectError(new DomainError("NOT_IMPLEMENTED", "no such method"));
  // The suffix is left out, because it may be as long as a header may be.
  const contentType = GRPC_TYPE.exec(request.headers["content-type"]!)?.[0].replace(/[+;]$/, "");
  dropRestWhenAnswered(request, response);
  if (contentType !== undefined) {
    setHead(response, 200, setTrailerStatus(new Headers({ "content-type": contentType }), error));
    endAnswer(response, unread);
  } else {
    setHead(response, 404, [["content-type", "application/json"]]);
    endAnswer(response, unread, errorToJsonBytes(error, undefined));
  }
}
