/** Middleware for Express 5. `request.latchkey` has what was found. */
import type { NextFunction, Request, RequestHandler, Response } from "express";
import { doorOf } from "./door.ts";
import type { RealmGuard } from "./guards.ts";
import { admitNode, nodeFacts } from "./node-http.ts";
import type { Found } from "./protect.ts";

export type { ApiKeyOptions, RateLimitOptions, UserOptions } from "./guards.ts";
export type { Found } from "./protect.ts";

declare global {
  namespace Express {
    interface Request {
      /** What @latchkey/client found out about this request. */
      latchkey?: Found;
    }
  }
}

type Args = [request: Request, response: Response, next: NextFunction];

/** The address is `req.ip`: trust in proxies is Express' own setting. The path is that of the whole application. */
function admit(guard: RealmGuard<Request>, request: Request, response: Response): Promise<boolean> {
  return admitNode(guard, request, nodeFacts(request, request.originalUrl, request.ip), response);
}

export const { requireApiKey, rateLimit, requireUser } = doorOf<Request, RequestHandler, Args>({
  middleware: (guard) => async (request, response, next) => {
    if (await admit(guard, request, response)) next();
  },
  around: async (guard, [request, response], run) => {
    if (await admit(guard, request, response)) return run();
  },
});
