import { Code, ConnectError } from "@connectrpc/connect";

/** Codes of Node by which no byte of the call has left: the connection was never there. */
const NOT_CONNECTED: ReadonlySet<string> = new Set([
  "ECONNREFUSED",
  "ENOTFOUND",
  "EAI_AGAIN",
  "EHOSTUNREACH",
  "ENETUNREACH",
  // The connection was going away before the stream could begin on it.
  "ERR_HTTP2_GOAWAY_SESSION",
]);
const DEEPEST_CAUSE = 8;

/**
 * Whether the service surely did not judge the call: there was no connection, the server refused the stream before it
 * read it, or the stream's id is above that of a GOAWAY, which HTTP/2 reports in the same way (RFC 9113, 8.7). A reset
 * after the first byte, or a 503 of a proxy, is not sure.
 */
export function isSurelyNotJudged(error: unknown): boolean {
  let at: unknown = error;
  for (let depth = 0; at instanceof Error && depth < DEEPEST_CAUSE; depth++) {
    const { code, syscall } = at as NodeJS.ErrnoException;
    if (typeof code === "string" && NOT_CONNECTED.has(code)) return true;
    if (code === "ETIMEDOUT" && syscall === "connect") return true;
    if (code === "ERR_HTTP2_STREAM_ERROR" && at.message.includes("REFUSED_STREAM")) return true;
    if (isRefusedStream(at)) return true;
    at = at.cause;
  }
  return false;
}

/** Connect's own error for a refused stream has no cause, and no metadata, because nothing came from the service. */
function isRefusedStream(error: Error): boolean {
  return (
    error instanceof ConnectError &&
    error.code === Code.Unavailable &&
    error.rawMessage === "http/2 stream closed with error code REFUSED_STREAM (0x7)" &&
    [...error.metadata].length === 0
  );
}
