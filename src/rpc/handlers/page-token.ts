import { createCipheriv, createDecipheriv } from "node:crypto";
import { type DomainError, invalidField } from "../../lib/errors.ts";
import type { KeyRing } from "../../lib/key-ring.ts";
import type { PagePosition } from "../../lib/page.ts";
import { randomBytes } from "../../lib/random.ts";
import type { Call, Caller } from "../call.ts";

/** The one list that a page token continues. */
export interface PageScope {
  /** Name of the RPC. */
  readonly method: string;
  readonly caller: Caller;
  /** The request's fields that select the records of the list, always in the same order. */
  readonly filter: readonly (string | boolean)[];
}

const DEFAULT_SIZE = 50;
const MAX_SIZE = 250;

/** The page of a list that a verb returns: its size, and the position after which it begins. */
export interface PagePlace {
  readonly size: number;
  /** Undefined for the first page. */
  readonly after: PagePosition | undefined;
}

/** A call for one page of a list. */
interface ListCall {
  readonly request: { readonly pageSize: number; readonly pageToken: string };
  readonly call: Pick<Call, "method" | "caller">;
  readonly filter: PageScope["filter"];
}

/**
 * Answers a call for one page of a list (AIP-158, keyset pagination): finds the place of the page, calls the verb, and
 * makes the token of the next page.
 *
 * @throws INVALID_FIELD page_size, page_token
 */
export async function listPage<P extends { readonly next: PagePosition | undefined }>(
  tokens: PageTokens,
  { request, call, filter }: ListCall,
  list: (place: PagePlace) => Promise<P>,
): Promise<{ readonly page: P; readonly nextPageToken: string }> {
  const scope = { method: call.method.name, caller: call.caller, filter };
  const place = { size: pageSize(request.pageSize), after: tokens.open(scope, request.pageToken) };
  const page = await list(place);
  return { page, nextPageToken: tokens.seal(scope, page.next) };
}

/** The number of records on a page: 50 for 0, and at most 250. @throws INVALID_FIELD page_size */
export function pageSize(requested: number): number {
  if (requested < 0) throw invalidField("page_size", "must not be negative");
  return requested === 0 ? DEFAULT_SIZE : Math.min(requested, MAX_SIZE);
}

const VERSION_BYTES = 2;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const HEAD_BYTES = VERSION_BYTES + NONCE_BYTES + TAG_BYTES;
const MAX_TOKEN_LENGTH = 256;

/**
 * Maker and reader of page tokens: two bytes of master key version, then the position under AES-256-GCM. The encryption
 * hides ids and times, and prevents forged tokens. Caller, method and filter are associated data, so a token continues
 * only the list that it came from.
 */
export class PageTokens {
  readonly #ring: KeyRing;

  constructor(ring: KeyRing) {
    this.#ring = ring;
  }

  /** The `next_page_token` of a page; empty at the end of the list. */
  seal(scope: PageScope, next: PagePosition | undefined): string {
    if (next === undefined) return "";
    const nonce = randomBytes(NONCE_BYTES);
    const cipher = createCipheriv("aes-256-gcm", this.#ring.currentKey("page-token"), nonce);
    cipher.setAAD(associatedData(scope));
    const text = JSON.stringify([next.createdAtMs, next.id]);
    const ciphertext = Buffer.concat([cipher.update(text, "utf8"), cipher.final()]);
    const version = Buffer.alloc(VERSION_BYTES);
    version.writeUInt16BE(this.#ring.current);
    return Buffer.concat([version, nonce, cipher.getAuthTag(), ciphertext]).toString("base64url");
  }

  /** The position in a `page_token`; undefined for the first page. @throws INVALID_FIELD page_token */
  open(scope: PageScope, token: string): PagePosition | undefined {
    if (token === "") return undefined;
    const bytes = Buffer.from(token, "base64url");
    const isOurForm = token.length <= MAX_TOKEN_LENGTH && bytes.toString("base64url") === token;
    if (!isOurForm || bytes.length <= HEAD_BYTES) throw invalidToken();
    const key = this.#ring.derive("page-token", bytes.readUInt16BE());
    if (key === undefined) throw invalidToken();
    const nonce = bytes.subarray(VERSION_BYTES, VERSION_BYTES + NONCE_BYTES);
    const decipher = createDecipheriv("aes-256-gcm", key, nonce, { authTagLength: TAG_BYTES });
    decipher.setAAD(associatedData(scope)).setAuthTag(bytes.subarray(VERSION_BYTES + NONCE_BYTES, HEAD_BYTES));
    try {
      const text = Buffer.concat([decipher.update(bytes.subarray(HEAD_BYTES)), decipher.final()]).toString("utf8");
      const [createdAtMs, id] = JSON.parse(text) as [number, string];
      return { createdAtMs, id };
    } catch {
      throw invalidToken();
    }
  }
}

function associatedData({ method, caller, filter }: PageScope): Buffer {
  return Buffer.from(JSON.stringify([method, callerId(caller), filter]));
}

function callerId(caller: Caller): string {
  switch (caller.kind) {
    case "user":
      return caller.userId;
    case "service":
      return caller.credentialId;
    case "anonymous":
      return "";
    default:
      return caller satisfies never;
  }
}

function invalidToken(): DomainError {
  return invalidField(
    "page_token",
    "must be empty, or the next_page_token that the same caller received for the same list",
  );
}
