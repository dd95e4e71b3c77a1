/** Handlers for plain node:http. `request.latchkey` has what was found. */
import type { IncomingMessage, ServerResponse } from "node:http";
import { type Door, doorOf } from "./door.ts";
import type { RealmGuard } from "./guards.ts";
import { admitNode, nodeFacts } from "./node-http.ts";
import type { Found } from "./protect.ts";

export type { ApiKeyOptions, RateLimitOptions, UserOptions } from "./guards.ts";
export type { Found } from "./protect.ts";

declare module "node:http" {
  interface IncomingMessage {
    /** The facts that @latchkey/client found about this request. */
    latchkey?: Found;
  }
}

type Args = [request: IncomingMessage, response: ServerResponse];
export type Handler = (request: IncomingMessage, response: ServerResponse) => unknown;

/** Puts itself in front of a handler: `createServer(requireApiKey(latchkey)(handler))`. */
export type Wrapper = (handler: Handler) => (request: IncomingMessage, response: ServerResponse) => Promise<void>;

/** The address is that of the TCP connection. */
function admit(
  guard: RealmGuard<IncomingMessage>,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<boolean> {
  return admitNode(guard, request, nodeFacts(request, request.url ?? "/", request.socket.remoteAddress), response);
}

const door: Door<IncomingMessage, Wrapper, Args> = doorOf({
  middleware: (guard) => (handler) => async (request, response) => {
    try {
      if (await admit(guard, request, response)) await handler(request, response);
    } catch (error) {
      // node:http has no place for a handler's error, and a rejection would end the process.
      process.emitWarning(error instanceof Error ? error : String(error));
      if (response.headersSent) response.destroy();
      else response.writeHead(500).end();
    }
  },
  around: async (guard, [request, response], run) => {
    if (await admit(guard, request, response)) return run();
  },
});

/**
 * Requires an API key: `createServer(requireApiKey(latchkey, options)(handler))`. `requireApiKey.method` decorates a
 * class method.
 */
export const requireApiKey: Door<IncomingMessage, Wrapper, Args>["requireApiKey"] = door.requireApiKey;
/** Limits requests by a subject that is no key, such as an address. Used as `requireApiKey`. */
export const rateLimit: Door<IncomingMessage, Wrapper, Args>["rateLimit"] = door.rateLimit;
/** Requires the access token of a person. Used as `requireApiKey`. */
export const requireUser: Door<IncomingMessage, Wrapper, Args>["requireUser"] = door.requireUser;
