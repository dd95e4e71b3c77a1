/**
 * HANDLERS. From the message of an RPC to one verb of a business room, and back. A handler decides nothing: it converts
 * fields, calls the verb and converts the result. It knows neither a lane nor the checks that the call has passed.
 *
 *   made-per-call.ts   makes the handlers of management for each call, from stores that belong to that call
 *   actor.ts           the actor of a call, for verbs that record who acted
 *
 *   auth-handlers.ts                AuthService
 *   key-handlers.ts                 KeyService: management of keys
 *   verify-handlers.ts              KeyService: verdicts and rate limits, the hot path
 *   watch-handlers.ts               KeyService: the stream of changes
 *   admin-user-handlers.ts          AdminService: users
 *   admin-key-handlers.ts           AdminService: rate limits of keys
 *   service-credential-handlers.ts  AdminService: service credentials
 *   signing-key-handlers.ts         AdminService: the keys that sign access tokens
 *   audit-handlers.ts               AdminService: the audit trail
 *   server-info-handlers.ts         AdminService: the process that answers
 *
 *   key-messages.ts      keys, limits and verdicts as messages
 *   user-messages.ts     users, sessions and token pairs as messages
 *   times.ts             Timestamp and Duration from and to milliseconds
 *   field-mask.ts        the fields that an update changes
 *   page-token.ts        pages of a list, and the tokens that continue it
 *   verdict-encoding.ts  verdicts straight to bytes, without a message in between
 *   freshness-encoding.ts
 *                        their Freshness, of which the last one is kept
 */
import { type Asker, itself, ofKind } from "../../shares/holder.ts";
import type { Call } from "../call.ts";
import { holderOf } from "../holder.ts";

type Handlers = Readonly<Record<string, ((request: never, call: Call) => unknown) | undefined>>;

/** The holder of one call, and the signal that ends the call. */
export type CallAsker = Asker & { readonly signal: AbortSignal };

/**
 * Request-scoped handlers: they are made for each call, from stores of that call. Those stores know the call's holder
 * and signal, so the verbs need no parameters for them. They are meant for calls that cost milliseconds. For calls that
 * cost microseconds they are too slow.
 *
 * @param make makes the handlers for one call. It is also called once at the start, for the names of the methods
 */
export function madePerCall<H extends object>(make: (asker: CallAsker) => H): H {
  const names = Object.keys(make({ holder: itself("start"), signal: new AbortController().signal }));
  const handlers = names.map((name) => [
    name,
    (request: never, call: Call) => (make(askerOf(call)) as Handlers)[name]!(request, call),
  ]);
  return Object.fromEntries(handlers) as H;
}

/** Each method is a kind of work of its own, so a caller that floods one method can still use another. */
function askerOf(call: Call): CallAsker {
  return { holder: ofKind(holderOf(call), call.method.name), signal: call.signal };
}
