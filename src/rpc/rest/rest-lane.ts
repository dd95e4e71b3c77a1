/**
 * REST. The unary RPCs of the contract as resources of plain HTTP and JSON, by their `google.api.http` annotations:
 * a third lane beside those of rpc/lanes, through the same Concerns and to the same handlers.
 *
 *   rest-lane.ts        from an HTTP request to a call and back
 *   rest-routes.ts      all paths as a tree: from a path to its RPCs
 *   rest-route.ts       one RPC's annotation, checked at the start
 *   path-template.ts    the text of a path with its variables
 *   parameters.ts       the values in a path and a query
 *   field-path.ts       from `key.id` to the fields of a message
 *   request-message.ts  the body, and the message that it makes with those values
 *   rest-answer.ts      messages and errors as JSON
 *   http-status.ts      from a gRPC code to an HTTP status
 */
import { constantError, DomainError } from "../../lib/errors.ts";
import type { Concerns } from "../calls/concerns.ts";
import type { LiveCall } from "../calls/live-call.ts";
import { toConnectError } from "../errors.ts";
import {
  closeUnlessRead,
  dropRestWhenAnswered,
  endAnswer,
  setHead,
  type WireRequest,
  type WireResponse,
  wireHead,
} from "../lanes/connect-http.ts";
import type { Lane } from "../lanes/connect-lane.ts";
import type { LaneCalls } from "../lanes/lane-calls.ts";
import { headerValues } from "../lanes/raw-headers.ts";
import { readTimeout } from "../lanes/timeout.ts";
import type { UnreadAnswers } from "../lanes/unread-answers.ts";
import type { Route } from "../routes.ts";
import { readParameters } from "./parameters.ts";
import { readBody, requestMessage } from "./request-message.ts";
import { errorAnswer, messageAnswer, type RestAnswer } from "./rest-answer.ts";
import type { RestRoute } from "./rest-route.ts";
import { type Resource, RestRoutes } from "./rest-routes.ts";

export interface RestLaneDeps {
  readonly routes: ReadonlyMap<string, Route>;
  readonly concerns: Concerns;
  readonly unread: UnreadAnswers;
  /** Counts the calls that it takes. */
  readonly calls: LaneCalls;
}

/** The headers of every answer: it may have a secret, and no browser may take it for anything else than JSON. */
const ALWAYS = [
  ["cache-control", "no-store"],
  ["x-content-type-options", "nosniff"],
] as const;

const NO_SUCH_PATH = constantError("HTTP_PATH_NOT_FOUND", "no such path; docs/REST.md has all of them");
const NO_SUCH_METHOD = constantError("HTTP_METHOD_NOT_ALLOWED", "this path has other methods: see the header Allow");

/**
 * The lane of every path below `/v1/`. It answers each request for one, also for those that do not exist, and leaves
 * all other paths alone.
 *
 * @throws {Error} for an annotation that it can't serve: see `RestRoutes`
 */
export function createRestLane(deps: RestLaneDeps): Lane {
  const routes = new RestRoutes(deps.routes.values());
  return (request, response) => {
    const target = request.url ?? "";
    const mark = target.indexOf("?");
    const path = mark < 0 ? target : target.slice(0, mark);
    if (path !== "/v1" && !path.startsWith("/v1/")) return false;
    const exchange = new RestExchange(request, response, deps.unread);
    const found = routes.find(path);
    const route = found?.resource.methods.get(request.method ?? "");
    if (found === undefined) exchange.answer(errorAnswer(toConnectError(NO_SUCH_PATH)));
    else if (route === undefined) exchange.answer(withoutRoute(request, found.resource));
    else {
      deps.calls.rest++;
      void serve(deps.concerns, exchange, { route, values: found.values, query: target.slice(path.length + 1) });
    }
    return true;
  };
}

/** The answer to a method without a route: the lane answers OPTIONS, and refuses the others. */
function withoutRoute({ method }: WireRequest, { allow }: Resource): RestAnswer {
  const headers = [["allow", allow]] as const;
  if (method === "OPTIONS") return { status: 204, headers, body: undefined };
  return errorAnswer(toConnectError(NO_SUCH_METHOD), headers);
}

/** The route that a request names, and its values outside of the body. */
interface Named {
  readonly route: RestRoute;
  readonly values: readonly string[];
  readonly query: string;
}

/** Serves one request for an RPC. Never rejects. */
async function serve(concerns: Concerns, exchange: RestExchange, named: Named): Promise<void> {
  const { request } = exchange;
  const { rpc, template } = named.route;
  const timeout = readTimeout("grpc-timeout", headerValues(request.rawHeaders, "grpc-timeout"));
  const head = { ...wireHead(request), httpRoute: `${request.method} ${template.text}` };
  const call = concerns.begin(rpc, head, typeof timeout === "number" ? timeout : undefined);
  exchange.onGone(() => concerns.cancel(call));
  let answer: RestAnswer;
  try {
    if (timeout instanceof DomainError) throw timeout;
    const response = await perform(concerns, call, request, named);
    answer = messageAnswer(rpc.method.output, response, addedFields(call));
  } catch (error) {
    answer = errorAnswer(concerns.fail(call, error), addedFields(call));
  }
  exchange.answer(answer);
}

/** From the head of a request to the response of its handler. */
async function perform(concerns: Concerns, call: LiveCall, request: WireRequest, named: Named): Promise<unknown> {
  const { route, values, query } = named;
  await concerns.admit(call);
  const parameters = readParameters(route, values, query);
  const body = await readBody(concerns, call, request, route);
  return concerns.perform(call, requestMessage(route, body, parameters));
}

/** The headers and trailers that the handler added to the answer. HTTP has one place for both. */
function addedFields({ answerHeaders = [], answerTrailers = [] }: LiveCall) {
  return [...answerHeaders, ...answerTrailers];
}

/** One request and its answer. */
class RestExchange {
  readonly request: WireRequest;
  readonly #response: WireResponse;
  readonly #unread: UnreadAnswers;
  #answered = false;

  constructor(request: WireRequest, response: WireResponse, unread: UnreadAnswers) {
    this.request = request;
    this.#response = response;
    this.#unread = unread;
    dropRestWhenAnswered(request, response);
  }

  /** Calls `gone` if the client closes the stream or the connection before the answer. */
  onGone(gone: () => void): void {
    this.#response.on("close", () => {
      if (!this.#answered) gone();
    });
  }

  /** Writes the answer, unless the client is gone. */
  answer({ status, headers, body }: RestAnswer): void {
    this.#answered = true;
    const response = this.#response;
    setHead(response, status, [...ALWAYS, ...headers]);
    if (body !== undefined) {
      setHead(response, status, [
        ["content-type", "application/json"],
        ["content-length", String(body.length)],
      ]);
    }
    const sent = this.request.method === "HEAD" ? undefined : body;
    endAnswer(response, this.#unread, sent);
    // Such an answer asks for no trailers, which is when dropRestWhenAnswered would close the stream.
    if (sent === undefined && "stream" in this.request) closeUnlessRead(this.request.stream);
  }
}
