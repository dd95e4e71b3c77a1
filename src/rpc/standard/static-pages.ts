import { createHash } from "node:crypto";
import { cutAnswer, setHead, type WireRequest, type WireResponse, writeAnswer } from "../lanes/connect-http.ts";
import { headerValues } from "../lanes/raw-headers.ts";
import type { UnreadAnswers } from "../lanes/unread-answers.ts";

/** A page whose bytes never change. All readers share one copy of them. */
export interface StaticPage {
  readonly body: Buffer;
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly etag: string;
}

/** Maximum bytes that one answer keeps waiting for a slow reader, also where TLS copies them. */
const PIECE_BYTES = 64 * 1024;

/** @param headers further headers of the page, such as its Content-Security-Policy */
export function staticPage(type: string, body: Buffer, headers: StaticPage["headers"] = []): StaticPage {
  const etag = `"${createHash("sha256").update(body).digest("base64url")}"`;
  const common = [
    ["content-type", type],
    ["x-content-type-options", "nosniff"],
    // A browser asks each time, and gets 304 while the page is the same: an update of the service shows at once.
    ["cache-control", "no-cache"],
    ["etag", etag],
  ] as const;
  return { body, headers: [...common, ...headers], etag };
}

/** Answers GET and HEAD. Writes the next piece after the client has read the one before, and cuts it off otherwise. */
export function serveStaticPage(
  page: StaticPage,
  request: WireRequest,
  response: WireResponse,
  unread: UnreadAnswers,
): void {
  if (isFresh(page, request)) {
    setHead(response, 304, page.headers);
    response.end();
    return;
  }
  const header = new Headers([...page.headers, ["content-length", String(page.body.length)]] as [string, string][]);
  const body = request.method === "HEAD" ? undefined : piecesOf(page.body);
  void writeAnswer({ status: 200, header, ...(body && { body }) }, response, unread).catch(() => cutAnswer(response));
}

/** Whether the client has this page already (RFC 9110, 13.1.2). */
function isFresh({ etag }: StaticPage, { rawHeaders }: WireRequest): boolean {
  const tags = headerValues(rawHeaders, "if-none-match").flatMap((value) => value.split(","));
  return tags.some((tag) => tag.trim() === "*" || tag.trim().replace(/^W\//, "") === etag);
}

async function* piecesOf(body: Buffer): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < body.length; at += PIECE_BYTES) yield body.subarray(at, at + PIECE_BYTES);
}
