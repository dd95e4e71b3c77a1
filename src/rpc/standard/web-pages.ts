import { readFileSync } from "node:fs";
import { join } from "node:path";
import { JWKS_MAX_AGE_MS } from "../../auth/signing/signing-key.ts";
import type { Log } from "../../lib/log.ts";
import { endAnswer, setHead, type WireRequest, type WireResponse } from "../lanes/connect-http.ts";
import type { UnreadAnswers } from "../lanes/unread-answers.ts";
import { docsPages } from "./docs-page.ts";
import { serveStaticPage, staticPage } from "./static-pages.ts";

export interface WebPagesDeps {
  readonly log: Log;
  /** The JSON Web Key Set (RFC 7517) of all keys that may sign access tokens. Rejects while the set can't be read. */
  jwks(): Promise<{ readonly keys: readonly object[]; readonly isStale?: boolean }>;
}

export interface WebPagesOptions {
  /** Whether to serve `/docs`. */
  readonly docsPage: boolean;
  readonly unread: UnreadAnswers;
}

/** The path at which verifiers of access tokens find the keys. */
const JWKS_PATH = "/.well-known/jwks.json";
/** Time that a verifier may keep a stale key set. Short, because a stale set may lack a new key. */
const STALE_JWKS_MAX_AGE_MS = 10_000;

/** One request for a page, and the watch over its answer. */
interface PageExchange {
  readonly request: WireRequest;
  readonly response: WireResponse;
  readonly unread: UnreadAnswers;
}

/**
 * Answers requests that are not RPCs: the key set, the description of the REST paths, its viewer, or 404. The function
 * that it returns never throws.
 */
export function createWebPages(deps: WebPagesDeps, { docsPage, unread }: WebPagesOptions) {
  const description = readFileSync(join(import.meta.dirname, "openapi.json"));
  const pages = new Map([["/openapi.json", staticPage("application/json", description)]]);
  if (docsPage) for (const [path, page] of docsPages()) pages.set(path, page);
  return (request: WireRequest, response: WireResponse): void => {
    const exchange = { request, response, unread };
    request.resume();
    const path = request.url?.split("?", 1)[0] ?? "";
    const page = pages.get(path);
    if (path !== JWKS_PATH && page === undefined) {
      answer(exchange, 404, "text/plain; charset=utf-8", "not found\n");
    } else if (request.method !== "GET" && request.method !== "HEAD") {
      response.setHeader("allow", "GET, HEAD");
      answer(exchange, 405, "text/plain; charset=utf-8", "method not allowed\n");
    } else if (page === undefined) {
      void serveJwks(deps, exchange);
    } else {
      serveStaticPage(page, request, response, unread);
    }
  };
}

async function serveJwks(deps: WebPagesDeps, exchange: PageExchange): Promise<void> {
  const { response } = exchange;
  try {
    const { keys, isStale } = await deps.jwks();
    const maxAgeMs = isStale ? STALE_JWKS_MAX_AGE_MS : JWKS_MAX_AGE_MS;
    response.setHeader("cache-control", `public, max-age=${maxAgeMs / 1000}`);
    answer(exchange, 200, "application/jwk-set+json", JSON.stringify({ keys }));
  } catch (error) {
    deps.log.error("the key set could not be read", {}, error);
    response.setHeader("cache-control", "no-store");
    answer(exchange, 503, "text/plain; charset=utf-8", "unavailable\n");
  }
}

function answer({ request, response, unread }: PageExchange, status: number, type: string, body: string): void {
  setHead(response, status, [
    ["content-type", type],
    ["content-length", String(Buffer.byteLength(body))],
    ["x-content-type-options", "nosniff"],
  ]);
  endAnswer(response, unread, request.method === "HEAD" ? "" : body);
}
