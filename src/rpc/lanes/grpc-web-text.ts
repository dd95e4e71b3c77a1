/**
 * An adapter for `application/grpc-web-text`: gRPC-Web with base64 bodies, because a browser's XMLHttpRequest reads
 * streams only as text. It wraps a handler of the binary protocol, which applies limits, deadlines, access and errors.
 *
 * Either side may end a base64 text anywhere, with padding, and begin another one (gRPC's PROTOCOL-WEB.md). The service
 * does so after each message.
 */
import type { UniversalServerResponse } from "@connectrpc/connect/protocol";
import { DomainError } from "../../lib/errors.ts";

const TEXT_TYPE = /^application\/grpc-web-text(?=[+;]|$)/i;
const BINARY_TYPE = "application/grpc-web";
/** One text up to its padding. */
const SEGMENT = /[A-Za-z0-9+/]+={0,2}/g;

/** The media type of the binary protocol for a grpc-web-text type; undefined for any other type. */
export function binaryTypeOf(contentType: string | null): string | undefined {
  return contentType !== null && TEXT_TYPE.test(contentType) ? contentType.replace(TEXT_TYPE, BINARY_TYPE) : undefined;
}

/** The bytes of base64 texts that come in pieces. @throws MESSAGE_INVALID for anything else */
export async function* bytesOfText(pieces: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, undefined> {
  let rest = "";
  for await (const piece of pieces) {
    const text = rest + Buffer.from(piece.buffer, piece.byteOffset, piece.length).toString("latin1");
    const whole = text.length - (text.length % 4);
    rest = text.slice(whole);
    const bytes = bytesOfQuads(text.slice(0, whole));
    if (bytes.length > 0) yield bytes;
  }
  if (rest !== "") throw notBase64();
}

/** The answer of a handler of the binary protocol, as text. */
export function textAnswer(answer: UniversalServerResponse): UniversalServerResponse {
  const header = new Headers(answer.header);
  const type = header.get("content-type");
  if (type !== null) header.set("content-type", type.replace(BINARY_TYPE, `${BINARY_TYPE}-text`));
  return { ...answer, header, ...(answer.body && { body: textOf(answer.body) }) };
}

function textOf(body: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> {
  const encoded = ({ done, value }: IteratorResult<Uint8Array>): IteratorResult<Uint8Array> =>
    done ? { done, value: undefined } : { value: new Uint8Array(Buffer.from(Buffer.from(value).toString("base64"))) };
  return {
    [Symbol.asyncIterator]() {
      const pieces = body[Symbol.asyncIterator]();
      return {
        next: async () => encoded(await pieces.next()),
        // `writeAnswer` calls it when the client is gone.
        throw: async (error) => encoded((await pieces.throw?.(error)) ?? { done: true, value: undefined }),
        return: async () => encoded((await pieces.return?.()) ?? { done: true, value: undefined }),
      };
    },
  };
}

function bytesOfQuads(text: string): Uint8Array {
  const segments: readonly string[] = text.match(SEGMENT) ?? [];
  const matched = segments.reduce((length, segment) => length + segment.length, 0);
  if (matched !== text.length || segments.some((segment) => segment.length % 4 !== 0)) throw notBase64();
  return Buffer.concat(segments.map((segment) => Buffer.from(segment, "base64")));
}

function notBase64(): DomainError {
  return new DomainError("MESSAGE_INVALID", "the body must be base64, as application/grpc-web-text requires");
}
