import type { ConnectError } from "@connectrpc/connect";
import { setTrailerStatus } from "@connectrpc/connect/protocol-grpc";
import type { MetadataField } from "../call.ts";

/** Headers or trailers on the wire. */
export type Metadata = Readonly<Record<string, string | string[]>>;

/** Metadata with further fields. A name that occurs in both keeps all values. */
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
 * The trailers of a failed gRPC call: status, message, details, and further metadata of the error (`retry-after`).
 */
export function errorTrailers(error: ConnectError): Readonly<Record<string, string>> {
  if (!Object.isFrozen(error)) return toTrailers(setTrailerStatus(new Headers(), error));
  let kept = CONSTANT_TRAILERS.get(error);
  if (kept === undefined) {
    kept = Object.freeze(toTrailers(setTrailerStatus(new Headers(), error)));
    CONSTANT_TRAILERS.set(error, kept);
  }
  return kept;
}

/** The trailers of frozen errors, which are thrown many times (see `constantError`). */
const CONSTANT_TRAILERS = new WeakMap<ConnectError, Readonly<Record<string, string>>>();

/**
 * Headers as trailers, with a `grpc-message` that grpc-js can decode. Connect escapes everything that a URL can't
 * contain, and grpc-js decodes only part of that. gRPC requires escapes only for `%` and for characters beyond
 * printable ASCII.
 */
export function toTrailers(headers: Headers): Record<string, string> {
  const trailers = Object.fromEntries(headers);
  const escaped = trailers["grpc-message"];
  if (escaped !== undefined) {
    trailers["grpc-message"] = decodeURIComponent(escaped).replace(/[^\x20-\x24\x26-\x7e]+/g, encodeURIComponent);
  }
  return trailers;
}
