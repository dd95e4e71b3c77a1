import type { Call } from "./call.ts";

type Handlers = Readonly<Record<string, ((request: never, call: Call) => unknown) | undefined>>;

/**
 * Handlers that are made anew for each call, of what ends with the call: a handler that is given stores of its own call
 * needs no signal in each of its words. For calls that cost milliseconds, not for those that cost microseconds.
 *
 * @param make is asked once more, at the start, for which methods there are handlers
 */
export function perCall<H extends object>(make: (signal: AbortSignal) => H): H {
  const names = Object.keys(make(new AbortController().signal));
  const handlers = names.map((name) => [
    name,
    (request: never, call: Call) => (make(call.signal) as Handlers)[name]!(request, call),
  ]);
  return Object.fromEntries(handlers) as H;
}
