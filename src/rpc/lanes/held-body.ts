import type { Concerns } from "../calls/concerns.ts";
import type { LiveCall } from "../calls/live-call.ts";
import { bodyOf, type WireRequest } from "./connect-http.ts";

/**
 * The body of a call's request, piece by piece. Each piece counts against the bytes that incomplete messages may hold,
 * so a caller with a large or slow body may lose the call. It ends early when the call does.
 *
 * @param decode turns the wire's pieces into the message's; default: they are the same
 * @throws the error for the client
 */
export async function* heldBody(
  concerns: Concerns,
  call: LiveCall,
  request: WireRequest,
  decode: (pieces: AsyncIterable<Uint8Array>) => AsyncIterable<Uint8Array> = (pieces) => pieces,
): AsyncGenerator<Uint8Array, void, undefined> {
  try {
    const pieces = bodyOf(request, {
      race: (work) => call.race(work),
      cut: (wake) => concerns.cancel(call, wake),
    });
    for await (const piece of decode(pieces)) {
      concerns.hold(call, piece.length);
      if (call.failure !== undefined) throw call.failure;
      // A copy, because pieces are collected, and a piece may be a view of a larger buffer that it would keep alive.
      yield new Uint8Array(piece);
    }
  } catch (error) {
    throw concerns.fail(call, error);
  }
}
