import type { ConnectError } from "@connectrpc/connect";
import { setTrailerStatus } from "@connectrpc/connect/protocol-grpc";

/**
 * The trailers of a gRPC call that failed: status, message, details, and what else the error carries (`retry-after`).
 */
export function errorTrailers(error: ConnectError): Record<string, string> {
  return toTrailers(setTrailerStatus(new Headers(), error));
}

/**
 * Connect escapes all of `grpc-message` that a URL could not have, and grpc-js restores only part of that. gRPC asks for
 * no more than what is not printable ASCII, and `%`, to be escaped.
 */
export function toTrailers(headers: Headers): Record<string, string> {
  const trailers = Object.fromEntries(headers);
  const escaped = trailers["grpc-message"];
  if (escaped !== undefined) {
    trailers["grpc-message"] = decodeURIComponent(escaped).replace(/[^\x20-\x24\x26-\x7e]+/g, encodeURIComponent);
  }
  return trailers;
}
