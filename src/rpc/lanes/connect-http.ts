import type { IncomingMessage, ServerResponse } from "node:http";
import { constants, type Http2ServerRequest, Http2ServerResponse, type ServerHttp2Stream } from "node:http2";
import type { Writable } from "node:stream";
import type { UniversalServerResponse } from "@connectrpc/connect/protocol";
import { DomainError } from "../../lib/errors.ts";
import type { CallHead } from "../call.ts";
import { toTrailers } from "./grpc-status.ts";
import { headerValues } from "./raw-headers.ts";
import type { UnreadAnswers } from "./unread-answers.ts";

/** A request and its response as node:http and node:http2 (through its compatibility layer) give them. */
export type WireRequest = IncomingMessage | Http2ServerRequest;
export type WireResponse = ServerResponse | Http2ServerResponse;

/** Concerns enforces deadlines. If Connect got a timeout, it would set a second timer. */
const NOT_FOR_CONNECT: ReadonlySet<string> = new Set(["grpc-timeout", "connect-timeout-ms"]);

/** The head of a call, over raw headers, because node's other forms drop repeated values of some headers. */
export function headOf(
  rawHeaders: readonly string[],
  socket: { readonly remoteAddress?: string | undefined } | undefined,
  connection: object,
): CallHead {
  return {
    peerAddress: socket?.remoteAddress ?? "",
    connection,
    header: (name) => headerValues(rawHeaders, name),
  };
}

/** The head of a request. */
export function wireHead(request: WireRequest): CallHead {
  const connection = "stream" in request ? (request.stream.session ?? request) : request.socket;
  return headOf(request.rawHeaders, request.socket, connection);
}

/** A request's headers for Connect: without HTTP/2's pseudo headers and without the timeout. */
export function connectHeaders(request: WireRequest): Headers {
  const headers = new Headers();
  const raw = request.rawHeaders;
  for (let i = 0; i < raw.length; i += 2) {
    const name = raw[i]!.toLowerCase();
    if (!name.startsWith(":") && !NOT_FOR_CONNECT.has(name)) headers.append(name, raw[i + 1]!);
  }
  return headers;
}

/** The call whose body is read. */
export interface BodyReader {
  /** Settles as `work`, or rejects when the call is aborted. */
  race<T>(work: Promise<T>): Promise<T>;
  /** The request was closed before its end. Calls `wake` in this turn of the event loop or a later one. */
  cut(wake: () => void): void;
}

/**
 * The bytes of a request's body. Unlike node's own iterator, it leaves the connection open when it is ended early, so
 * that an answer can still be written.
 *
 * @throws {DomainError} CANCELLED when the client closed the stream or connection before the end
 */
export async function* bodyOf(request: WireRequest, reader: BodyReader): AsyncGenerator<Uint8Array, void, undefined> {
  let wake = () => {};
  let isCut = false;
  const onChange = () => {
    if (isCut) return;
    isCut = isCutOff(request);
    if (isCut) reader.cut(() => wake());
    else wake();
  };
  const events = ["readable", "end", "close"] as const;
  for (const event of events) request.on(event, onChange);
  try {
    for (;;) {
      const chunk: Uint8Array | null = request.read();
      if (chunk !== null) {
        yield chunk;
      } else if (request.readableEnded) {
        return;
      } else if (request.destroyed) {
        throw clientGone();
      } else {
        const changed = new Promise<void>((resolve) => {
          wake = resolve;
        });
        await reader.race(changed);
      }
    }
  } finally {
    for (const event of events) request.off(event, onChange);
  }
}

/** Whether the body was cut. Node ends the body of an HTTP/2 request whose stream was cut as if it were complete. */
function isCutOff(request: WireRequest): boolean {
  return "stream" in request ? request.stream.aborted : request.destroyed && !request.complete;
}

/**
 * Writes an answer. It sends the headers only with the first bytes of the body, because a handler may add some until
 * then.
 *
 * @throws the error of the body, or DomainError CANCELLED if the client is gone; the `throw` of the body's iterator
 * receives the error first
 */
export async function writeAnswer(
  answer: UniversalServerResponse,
  response: WireResponse,
  unread: UnreadAnswers,
): Promise<void> {
  const body = answer.body?.[Symbol.asyncIterator]();
  let chunk = await body?.next();
  try {
    setHead(response, answer.status, answer.header);
    // Without this node:http2 ends an answer that has no body with its headers, and the trailers are lost.
    if (response instanceof Http2ServerResponse) response.writeHead(answer.status);
    for (; body !== undefined && chunk !== undefined && chunk.done !== true; chunk = await body.next()) {
      await writeChunk(response, chunk.value, unread);
    }
  } catch (error) {
    await body?.throw?.(error).catch(() => {});
    throw error;
  }
  if (answer.trailer !== undefined) response.addTrailers(toTrailers(answer.trailer));
  endAnswer(response, unread);
}

/** Ends an answer whose headers are set. Cuts off a client that does not read it in time. */
export function endAnswer(response: WireResponse, unread: UnreadAnswers, lastChunk?: Uint8Array | string): void {
  const sink: Writable = response;
  sink.end(lastChunk);
  unread.cutUnlessRead(sinkOf(response), "close", () => cutAnswer(response));
}

/** Closes the connection of HTTP/1.1, or the stream of HTTP/2, if an answer can't be finished. */
export function cutAnswer(response: WireResponse): void {
  if (response instanceof Http2ServerResponse) response.stream.destroy();
  else response.destroy();
}

/** Sets status and headers, which node sends with the first byte, or at the end. */
export function setHead(
  response: WireResponse,
  status: number,
  headers: Iterable<readonly [string, string]> = [],
): void {
  for (const [name, value] of headers) {
    // HTTP/2 has no such header. Connect sends it to close connections of HTTP/1.1.
    if (name !== "connection" || !(response instanceof Http2ServerResponse)) response.setHeader(name, value);
  }
  response.statusCode = status;
}

function writeChunk(response: WireResponse, chunk: Uint8Array, unread: UnreadAnswers): Promise<void> | undefined {
  if (isGone(response)) throw clientGone();
  const sink: Writable = response;
  return sink.write(chunk) ? undefined : drained(response, unread);
}

/** Resolves when the buffer is empty again, or when the client is gone; then the next write throws. */
function drained(response: WireResponse, unread: UnreadAnswers): Promise<void> {
  return new Promise((resolve) => {
    unread.cutUnlessRead(sinkOf(response), "drain", () => cutAnswer(response));
    const settle = () => {
      response.off("drain", settle);
      response.off("close", settle);
      resolve();
    };
    response.on("drain", settle);
    response.on("close", settle);
  });
}

/** The stream in which the bytes of an answer wait for their reader. */
function sinkOf(response: WireResponse): Writable {
  return response instanceof Http2ServerResponse ? response.stream : response;
}

function isGone(response: WireResponse): boolean {
  return response instanceof Http2ServerResponse ? response.stream.destroyed : response.destroyed;
}

/**
 * Drops the rest of a body that is not read to its end because the answer came first. On HTTP/2 the stream is closed
 * without an error after the trailers (RFC 9113, 8.1). On HTTP/1.1 the rest is read and dropped, up to
 * `requestTimeout`, because closing the connection immediately could lose the answer.
 */
export function dropRestWhenAnswered(request: WireRequest, response: WireResponse): void {
  if ("stream" in request) {
    const { stream } = request;
    stream.once("wantTrailers", () => closeUnlessRead(stream));
  } else {
    response.once("finish", () => {
      if (!request.readableEnded) request.resume();
    });
  }
}

/** Closes an answered stream whose request is incomplete, without an error (RFC 9113, 8.1). */
export function closeUnlessRead(stream: ServerHttp2Stream): void {
  if (!stream.readableEnded) setImmediate(() => stream.close(constants.NGHTTP2_NO_ERROR));
}

function clientGone(): DomainError {
  return new DomainError("CANCELLED", "the client is gone");
}
