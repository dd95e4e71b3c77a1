import { cors } from "@connectrpc/connect";
import type { WireRequest, WireResponse } from "../lanes/connect-http.ts";
import { endAnswer, setHead } from "../lanes/connect-http.ts";
import type { UnreadAnswers } from "../lanes/unread-answers.ts";

const ALLOWED_METHODS = "GET, HEAD, POST, PATCH, DELETE";
/** Beside what Connect needs: the caller's credential, and the trace of a page that is traced. */
const ALLOWED_HEADERS = [...cors.allowedHeaders, "Authorization", "Traceparent", "Tracestate"].join(", ");
/** Beside what Connect needs: the headers of REST, those of rate limits, which a proxy may add, and the request id. */
const EXPOSED_HEADERS = [
  ...cors.exposedHeaders,
  ...["Retry-After", "RateLimit", "RateLimit-Policy", "X-RateLimit-Limit", "X-RateLimit-Remaining"],
  ...["X-RateLimit-Reset", "WWW-Authenticate", "Allow", "X-Request-Id"],
].join(", ");
/** Maximum that Chromium allows. */
const PREFLIGHT_MAX_AGE_S = 7200;

/**
 * Cross-origin resource sharing (CORS): lets web pages of these origins call, and permits nothing to any other. A page
 * sends its credential in a header that it sets, never in cookies, so `Access-Control-Allow-Credentials` is not sent.
 *
 * @returns a function that adds the headers to a response. It answers preflight requests itself, and returns true for
 * those only
 */
export function createCors(
  origins: readonly string[],
  unread: UnreadAnswers,
): (request: WireRequest, response: WireResponse) => boolean {
  const allowed = new Set(origins);
  return (request, response) => {
    if (allowed.size === 0) return false;
    response.setHeader("vary", "Origin");
    const { origin } = request.headers;
    if (origin === undefined || !allowed.has(origin)) return false;
    response.setHeader("access-control-allow-origin", origin);
    response.setHeader("access-control-expose-headers", EXPOSED_HEADERS);
    if (request.method !== "OPTIONS" || request.headers["access-control-request-method"] === undefined) return false;
    setHead(response, 204, [
      ["access-control-allow-methods", ALLOWED_METHODS],
      ["access-control-allow-headers", ALLOWED_HEADERS],
      ["access-control-max-age", String(PREFLIGHT_MAX_AGE_S)],
      ["cache-control", "no-store"],
      ["x-content-type-options", "nosniff"],
    ]);
    endAnswer(response, unread);
    return true;
  };
}
