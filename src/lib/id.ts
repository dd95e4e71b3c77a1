import { hash } from "node:crypto";
import { base62Of256 } from "./base62.ts";
import { randomBase62 } from "./random.ts";

/** The prefix of an id says its kind: user, session, API key, service credential, audit event, request. */
export type IdKind = "usr" | "ses" | "key" | "svc" | "evt" | "req";

/** Number of base62 characters after the prefix: 95 random bits, so that ids neither collide nor can be guessed. */
export const ID_LENGTH = 16;

export function newId(kind: IdKind): string {
  return `${kind}_${randomBase62(ID_LENGTH)}`;
}

/** The id that belongs to a text: the same in every process. A caller who knows the text knows the id. */
export function idOf(kind: IdKind, text: string): string {
  return `${kind}_${base62Of256(hash("sha256", text, "buffer")).slice(-ID_LENGTH)}`;
}

const ID = /^(usr|ses|key|svc|evt|req)_[0-9A-Za-z]{16}$/;

/**
 * Whether the text has the form of an id of this kind. A text of another form can't exist as an id and costs no query.
 */
export function isId(kind: IdKind, text: string): boolean {
  return text.length === kind.length + 1 + ID_LENGTH && text.startsWith(kind) && ID.test(text);
}

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

/** Whether the text is a UUID (RFC 9562), of any version. */
export function isWellFormedUuid(text: string): boolean {
  return UUID.test(text);
}
