import { type Asker, itself, ofKind } from "../../shares/holder.ts";
import type { Call } from "../call.ts";
import { holderOf } from "../holder.ts";

type Handlers = Readonly<Record<string, ((request: never, call: Call) => unknown) | undefined>>;

/** A call that is known to end, and whom it belongs to. */
export type CallAsker = Asker & { readonly signal: AbortSignal };

/**
 * Handlers that are made for each call, of what belongs to its caller and ends with it: a handler that is given stores of
 * its own call needs neither holder nor signal in each of its words. For calls that cost milliseconds, not for those that
 * cost microseconds.
 *
 * @param make is asked once more, at the start, for which methods there are handlers
 */
export function perCall<H extends object>(make: (asker: CallAsker) => H): H {
  const names = Object.keys(make({ holder: itself("start"), signal: new AbortController().signal }));
  const handlers = names.map((name) => [
    name,
    (request: never, call: Call) => (make(askerOf(call)) as Handlers)[name]!(request, call),
  ]);
  return Object.fromEntries(handlers) as H;
}

/** The methods of one caller are served in turn too: a caller that floods one method can still use another. */
function askerOf(call: Call): CallAsker {
  return { holder: ofKind(holderOf(call), call.method.name), signal: call.signal };
}
