/** Hooks for Fastify 5. `request.latchkey` has what was found. */
import type { FastifyReply, FastifyRequest } from "fastify";
import { decisionFields, httpAnswer } from "../../src/answers/http-answer.ts";
import { type Door, doorOf } from "./door.ts";
import type { RealmGuard } from "./guards.ts";
import { nodeFacts } from "./node-http.ts";
import type { Found } from "./protect.ts";

export type { ApiKeyOptions, RateLimitOptions, UserOptions } from "./guards.ts";
export type { Found } from "./protect.ts";

declare module "fastify" {
  interface FastifyRequest {
    /** The facts that @latchkey/client found about this request. */
    latchkey?: Found;
  }
}

/** For `onRequest` of a route, or for `addHook("onRequest", ...)`: the body is not read for a request that is refused. */
export type Hook = (request: FastifyRequest, reply: FastifyReply) => Promise<FastifyReply | undefined>;

type Args = [request: FastifyRequest, reply: FastifyReply];

/** The address is `request.ip`: trust in proxies is Fastify's own setting. */
async function admit(
  { guard, realm }: RealmGuard<FastifyRequest>,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<boolean> {
  const facts = nodeFacts(request.raw, request.originalUrl, request.ip);
  const { decision, found } = await guard(request, facts, request.latchkey);
  if (decision.admitted) {
    request.latchkey = found;
    reply.headers(Object.fromEntries(decisionFields(decision, realm)));
    return true;
  }
  const { status, headers, body } = httpAnswer(decision, realm);
  // As bytes: Fastify would add a charset to the type of a text.
  reply.code(status).headers(Object.fromEntries(headers)).send(Buffer.from(body));
  return false;
}

const door: Door<FastifyRequest, Hook, Args> = doorOf({
  middleware: (guard) => async (request, reply) => ((await admit(guard, request, reply)) ? undefined : reply),
  around: async (guard, [request, reply], run) => ((await admit(guard, request, reply)) ? run() : reply),
});

/**
 * Requires an API key: `app.get(path, { onRequest: requireApiKey(latchkey, options) }, handler)`.
 * `requireApiKey.method` decorates a class method.
 */
export const requireApiKey: Door<FastifyRequest, Hook, Args>["requireApiKey"] = door.requireApiKey;
/** Limits requests by a subject that is no key, such as an address. Used as `requireApiKey`. */
export const rateLimit: Door<FastifyRequest, Hook, Args>["rateLimit"] = door.rateLimit;
/** Requires the access token of a person. Used as `requireApiKey`. */
export const requireUser: Door<FastifyRequest, Hook, Args>["requireUser"] = door.requireUser;
