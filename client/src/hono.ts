/** Middleware for Hono 4. `c.get("latchkey")` has what was found. */
import type { Context, MiddlewareHandler, Next } from "hono";
import { decisionFields, httpAnswer } from "../../src/answers/http-answer.ts";
import { httpMethod } from "../../src/answers/request-facts.ts";
import { type Door, doorOf } from "./door.ts";
import { apiKeyGuard, type ApiKeyOptions as CoreOptions, type RealmGuard } from "./guards.ts";
import { rawHeaderValues } from "./node-http.ts";
import type { Found, RequestFacts } from "./protect.ts";

export type { RateLimitOptions, UserOptions } from "./guards.ts";
export type { Found } from "./protect.ts";

declare module "hono" {
  interface ContextVariableMap {
    /** The facts that @latchkey/client found about this request. */
    latchkey: Found;
  }
}

export interface ApiKeyOptions extends CoreOptions<Context> {
  /**
   * The sender's address: Hono has none of its own. With @hono/node-server: `(c) => getConnInfo(c).remote.address`.
   * Without it, a key that is bound to networks is refused.
   */
  readonly address?: ((c: Context) => string | undefined) | undefined;
}

type Args = [c: Context, next: Next];

/** @hono/node-server's own request, which has repeated headers apart. */
interface NodeBindings {
  readonly incoming?: { readonly rawHeaders?: readonly string[] };
}

function factsOf(c: Context, address: string | undefined): RequestFacts {
  const rawHeaders = (c.env as NodeBindings | undefined)?.incoming?.rawHeaders;
  const joined = (name: string) => {
    const value = c.req.raw.headers.get(name);
    return value === null ? [] : [value];
  };
  return {
    values: rawHeaders ? rawHeaderValues(rawHeaders) : joined,
    address,
    method: httpMethod(c.req.method, c.req.url),
  };
}

/** Runs the rest if the guard admits the request. @returns the answer to a request that is refused */
async function pass(
  { guard, realm, address }: RealmGuard<Context>,
  c: Context,
  run: () => unknown,
): Promise<Response | undefined> {
  const { decision, found } = await guard(c, factsOf(c, address?.(c)), c.get("latchkey"));
  if (!decision.admitted) {
    const { status, headers, body } = httpAnswer(decision, realm);
    return new Response(body, { status, headers: headers.map(([name, value]): [string, string] => [name, value]) });
  }
  c.set("latchkey", found);
  const response = await run();
  if (response instanceof Response) c.res = response;
  // After the rest, which may answer with a response of its own; and with what inner guards have added.
  const windows = c.get("latchkey").rateLimits;
  for (const [name, value] of decisionFields({ admitted: true, windows }, realm)) c.header(name, value);
  return undefined;
}

const door: Door<Context, MiddlewareHandler, Args, ApiKeyOptions> = doorOf<
  Context,
  MiddlewareHandler,
  Args,
  ApiKeyOptions
>(
  {
    middleware: (guard) => (c, next) => pass(guard, c, next) as ReturnType<MiddlewareHandler>,
    around: async (guard, [c], run) => (await pass(guard, c, run)) ?? c.res,
  },
  (latchkey, { address, ...options } = {}) => {
    if (address !== undefined && typeof address !== "function") {
      throw new TypeError("requireApiKey: `address` must be a function of the context");
    }
    return { ...apiKeyGuard(latchkey, options), address };
  },
);

/**
 * Requires an API key: `app.get(path, requireApiKey(latchkey, options), handler)`. `requireApiKey.method` decorates a
 * class method.
 */
export const requireApiKey: Door<Context, MiddlewareHandler, Args, ApiKeyOptions>["requireApiKey"] = door.requireApiKey;
/** Limits requests by a subject that is no key, such as an address. Used as `requireApiKey`. */
export const rateLimit: Door<Context, MiddlewareHandler, Args, ApiKeyOptions>["rateLimit"] = door.rateLimit;
/** Requires the access token of a person. Used as `requireApiKey`. */
export const requireUser: Door<Context, MiddlewareHandler, Args, ApiKeyOptions>["requireUser"] = door.requireUser;
