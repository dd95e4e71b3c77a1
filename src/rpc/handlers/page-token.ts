import { createCipheriv, createDecipheriv } from "node:crypto";
import { type DomainError, invalidField } from "../../lib/errors.ts";
import type { KeyRing } from "../../lib/key-ring.ts";
import type { PagePosition } from "../../lib/page.ts";
import { randomBytes } from "../../lib/random.ts";
import type { Caller } from "../call.ts";

/** The list that a page token continues, and no other. */
export interface PageScope {
  /** Name of the RPC. */
  readonly method: string;
  readonly caller: Caller;
  /** The request's fields that choose what is listed, always in the same order. */
  readonly filter: readonly (string | boolean)[];
}

const DEFAULT_SIZE = 50;
const MAX_SIZE = 250;

/** How many a page holds (AIP-158). @throws INVALID_FIELD page_size */
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
 * Page tokens: two bytes of master key version, then the position under AES-256-GCM. Sealed, so that nobody reads ids
 * or times from one or makes one up; caller, method and filter are associated data, so that it continues only the list
 * that it came from.
 */
export class PageTokens {
  readonly #ring: KeyRing;

  constructor(ring: KeyRing) {
    this.#ring = ring;
  }

  /** `next_page_token`; empty where the list ends. */
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

  /** Where `page_token` says that the page begins; undefined for the first page. @throws INVALID_FIELD page_token */
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
  return invalidField("page_token", "must be empty, or a next_page_token of the same list by the same caller");
}
