/** Middleware for Express 5. `request.latchkey` has what was found. */
import type { NextFunction, Request, RequestHandler, Response } from "express";
import { type Door, doorOf } from "./door.ts";
import type { RealmGuard } from "./guards.ts";
import { admitNode, nodeFacts } from "./node-http.ts";
import type { Found } from "./protect.ts";

export type { ApiKeyOptions, RateLimitOptions, UserOptions } from "./guards.ts";
export type { Found } from "./protect.ts";

declare global {
  namespace Express {
    interface Request {
      /** The facts that @latchkey/client found about this request. */
      latchkey?: Found;
    }
  }
}

type Args = [request: Request, response: Response, next: NextFunction];

/** The address is `req.ip`: trust in proxies is Express' own setting. The path is that of the whole application. */
function admit(guard: RealmGuard<Request>, request: Request, response: Response): Promise<boolean> {
  return admitNode(guard, request, nodeFacts(request, request.originalUrl, request.ip), response);
}

const door: Door<Request, RequestHandler, Args> = doorOf({
  middleware: (guard) => async (request, response, next) => {
    if (await admit(guard, request, response)) next();
  },
  around: async (guard, [request, response], run) => {
    if (await admit(guard, request, response)) return run();
  },
});

/**
 * Requires an API key: `app.get(path, requireApiKey(latchkey, options), handler)`. `requireApiKey.method` decorates a
 * class method.
 */
export const requireApiKey: Door<Request, RequestHandler, Args>["requireApiKey"] = door.requireApiKey;
/** Limits requests by a subject that is no key, such as an address. Used as `requireApiKey`. */
export const rateLimit: Door<Request, RequestHandler, Args>["rateLimit"] = door.rateLimit;
/** Requires the access token of a person. Used as `requireApiKey`. */
export const requireUser: Door<Request, RequestHandler, Args>["requireUser"] = door.requireUser;
