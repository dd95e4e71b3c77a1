import {
  create,
  type DescMessage,
  fromBinary,
  type JsonObject,
  type MessageInitShape,
  toJson,
} from "@bufbuild/protobuf";
import type { ConnectError } from "@connectrpc/connect";
import { ErrorInfoSchema } from "../../gen/google/rpc/error_details_pb.ts";
import { EncodedMessage, type MetadataField } from "../call.ts";
import { codeName } from "../errors.ts";
import { MAX_RESPONSE_BYTES } from "../lanes/grpc-frame.ts";
import { JSON_OPTIONS } from "../lanes/json-options.ts";
import { httpStatus } from "./http-status.ts";

/** An answer of this lane, without the headers that all of them have. */
export interface RestAnswer {
  readonly status: number;
  readonly headers: readonly MetadataField[];
  /** JSON; undefined for none. */
  readonly body: Buffer | undefined;
}

/**
 * The answer to a call that succeeded: the RPC's response message.
 *
 * @param response as its handler returned it
 * @throws {Error} if it can't be encoded, or is larger than an answer may be
 */
export function messageAnswer(
  output: DescMessage,
  response: unknown,
  headers: readonly MetadataField[] = [],
): RestAnswer {
  const message =
    response instanceof EncodedMessage
      ? fromBinary(output, response.bytes)
      : create(output, response as MessageInitShape<typeof output>);
  const body = Buffer.from(JSON.stringify(toJson(output, message, JSON_OPTIONS)));
  if (body.length > MAX_RESPONSE_BYTES) throw new Error(`an answer of ${body.length} bytes`);
  return { status: 200, headers, body };
}

/** The answer to a call that failed, in the form of AIP-193. */
export function errorAnswer(error: ConnectError, headers: readonly MetadataField[] = []): RestAnswer {
  const status = codeName(error.code);
  const code = httpStatus(status, error.findDetails(ErrorInfoSchema)[0]?.reason ?? "");
  const details = error.details.flatMap((detail) => ("desc" in detail ? [detailJson(detail.desc, detail.value)] : []));
  const body = { error: { code, message: error.rawMessage, status, details } };
  const fields: MetadataField[] = [...headers, ...error.metadata];
  // RFC 9110, 11.6.1: every 401 has a challenge.
  if (code === 401) fields.push(["www-authenticate", "Bearer"]);
  return { status: code, headers: fields, body: Buffer.from(JSON.stringify(body)) };
}

/** A detail as google.protobuf.Any in JSON. */
function detailJson<Desc extends DescMessage>(desc: Desc, value: MessageInitShape<Desc>): JsonObject {
  const json = toJson(desc, create(desc, value), JSON_OPTIONS) as JsonObject;
  return { "@type": `type.googleapis.com/${desc.typeName}`, ...json };
}
