import { create, type DescMessage, type Message, mergeFromJsonString } from "@bufbuild/protobuf";
import { DomainError } from "../../lib/errors.ts";
import type { Concerns } from "../calls/concerns.ts";
import type { LiveCall } from "../calls/live-call.ts";
import { codecError } from "../errors.ts";
import type { WireRequest } from "../lanes/connect-http.ts";
import { heldBody } from "../lanes/held-body.ts";
import { JSON_OPTIONS } from "../lanes/json-options.ts";
import { headerValues } from "../lanes/raw-headers.ts";
import { addParameters, type Parameters } from "./parameters.ts";
import type { RestRoute } from "./rest-route.ts";

/** JSON, in UTF-8. */
const MEDIA_TYPE = /^application\/json *(; *charset *= *"?utf-8"?)?$/i;

/**
 * The bytes of a request's body.
 *
 * @throws the error for the client: HTTP_CONTENT_NOT_ALLOWED at the first byte of a body that is not JSON by its
 * headers, MESSAGE_INVALID at the first byte of one that its path does not take, or MESSAGE_TOO_LARGE
 */
export async function readBody(
  concerns: Concerns,
  call: LiveCall,
  request: WireRequest,
  { body }: RestRoute,
): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  let length = 0;
  for await (const piece of heldBody(concerns, call, request)) {
    if (length === 0 && piece.length > 0) {
      if (body.kind === "none") throw new DomainError("MESSAGE_INVALID", "this path takes no body");
      checkContent(request);
    }
    length += piece.length;
    if (length > call.route.maxRequestBytes) throw codecError("RESOURCE_EXHAUSTED");
    pieces.push(piece);
  }
  return Buffer.concat(pieces, length);
}

/**
 * The request message, from the body and from what stands outside of it. An empty body is `{}`.
 *
 * @throws the error for the client
 */
export function requestMessage({ rpc, body }: RestRoute, bytes: Uint8Array, parameters: Parameters): Message {
  const { input } = rpc.method;
  const message = create(input) as Message & Record<string, unknown>;
  if (body.kind === "whole") mergeBody(input, message, bytes);
  if (body.kind === "field") {
    const part = create(body.field.message);
    mergeBody(body.field.message, part, bytes);
    message[body.field.localName] = part;
  }
  addParameters(message, input, parameters);
  return message;
}

function mergeBody(desc: DescMessage, message: Message, bytes: Uint8Array): void {
  if (bytes.length === 0) return;
  try {
    mergeFromJsonString(desc, message as never, JSON_OPTIONS.textDecoder.decode(bytes), JSON_OPTIONS);
  } catch (error) {
    throw codecError("INVALID_ARGUMENT", (error as Error).message);
  }
}

/**
 * Refuses a body that its headers do not call JSON. A web page can send one without a type, or as text, to any origin
 * without asking first (CORS).
 */
function checkContent({ rawHeaders }: WireRequest): void {
  const types = headerValues(rawHeaders, "content-type");
  const [encoding = "identity", ...more] = headerValues(rawHeaders, "content-encoding");
  if (types.length !== 1 || !MEDIA_TYPE.test(types[0]!) || encoding !== "identity" || more.length > 0) {
    throw new DomainError(
      "HTTP_CONTENT_NOT_ALLOWED",
      "the body must be JSON: send `content-type: application/json`, and no content-encoding",
    );
  }
}
