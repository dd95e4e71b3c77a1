import type { ConnectError } from "@connectrpc/connect";
import { setTrailerStatus } from "@connectrpc/connect/protocol-grpc";
import type { MetadataField } from "../call.ts";

/** Headers or trailers on the wire. */
export type Metadata = Readonly<Record<string, string | string[]>>;

/** Both; of a name that both have, the values of both. */
export function withFields(metadata: Metadata, fields: readonly MetadataField[] | undefined): Metadata {
  if (fields === undefined) return metadata;
  const all: Record<string, string | string[]> = { ...metadata };
  for (const [name, value] of fields) {
    const others = all[name];
    all[name] = others === undefined ? value : [others, value].flat();
  }
  return all;
}

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
