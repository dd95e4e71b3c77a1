import { hash } from "node:crypto";
import { jwtVerify, SignJWT } from "jose";
import type { DatabaseClock } from "../../changes/database-clock.ts";
import { Lru } from "../../lib/lru.ts";
import type { SigningKey } from "../signing/signing-key.ts";

/** The claims of an access token (RFC 9068). */
export interface AccessClaims {
  readonly userId: string;
  readonly sessionId: string;
  /** `jti`: the session and its generation, so that a repeated Refresh makes the same token. */
  readonly tokenId: string;
  readonly issuedAtMs: number;
  readonly expiresAtMs: number;
}

export interface AccessTokenDeps {
  readonly signingKeys: {
    signer(): Promise<SigningKey>;
    verifier(kid: string): Promise<SigningKey | undefined>;
  };
  readonly databaseClock: DatabaseClock;
  /** `iss`. */
  readonly issuer: string;
  /** `aud`. */
  readonly audience: string;
}

export interface VerifyAccessTokenDeps extends AccessTokenDeps {
  readonly verifiedTokens: VerifiedTokens;
}

/** Maximum tokens that are remembered: about 5 MB. */
const MAX_TOKENS = 10_000;

const TYPE = "at+jwt";
/** `client_id`: always the same, because this service makes tokens only for its own logins. */
const CLIENT_ID = "latchkey";
/** Tokens of this service have about 500 characters. */
const MAX_TOKEN_LENGTH = 2048;
/**
 * Maximum by which `iat` may be ahead of this process' estimate of the database's clock. Another process may have
 * signed the token, by its own estimate.
 */
const MAX_AHEAD_SECONDS = 10;
const PART = /^[A-Za-z0-9_-]+$/;

/** Signs an access token. @throws what `SigningKeys.signer` throws */
export async function signAccessToken(deps: AccessTokenDeps, claims: AccessClaims): Promise<string> {
  const key = await deps.signingKeys.signer();
  return new SignJWT({ sid: claims.sessionId, client_id: CLIENT_ID })
    .setProtectedHeader({ alg: key.algorithm, typ: TYPE, kid: key.kid })
    .setIssuer(deps.issuer)
    .setAudience(deps.audience)
    .setSubject(claims.userId)
    .setJti(claims.tokenId)
    .setIssuedAt(Math.floor(claims.issuedAtMs / 1000))
    .setExpirationTime(Math.floor(claims.expiresAtMs / 1000))
    .sign(key.privateKey);
}

/**
 * Verifies an access token and reads its claims. It accepts only what `signAccessToken` writes (RFC 8725). The `kid`
 * chooses a key of this service's own set, the algorithm is that key's, and the type is `at+jwt`. A header with any
 * other member, such as an embedded key (`jwk`), is refused before a signature is computed.
 *
 * A signature is verified once for a token and a key. Every call judges again whether the key is still in the set, and
 * whether the token is valid now.
 *
 * @returns undefined for a token that is not valid now
 * @throws what `SigningKeys.verifier` throws; then it is unknown whether the token is valid
 */
export async function verifyAccessToken(deps: VerifyAccessTokenDeps, token: string): Promise<AccessClaims | undefined> {
  if (token.length > MAX_TOKEN_LENGTH) return undefined;
  const verified = deps.verifiedTokens.get(token);
  if (verified !== undefined && (await deps.signingKeys.verifier(verified.key.kid)) === verified.key) {
    return isCurrent(verified.claims, deps.databaseClock.nowMs()) ? verified.claims : undefined;
  }
  const header = readHeader(token);
  if (header === undefined) return undefined;
  const key = await deps.signingKeys.verifier(header.kid);
  if (key === undefined || key.algorithm !== header.alg) return undefined;
  const claims = await verifySignature(deps, token, key);
  if (claims !== undefined) deps.verifiedTokens.add(token, { key, claims });
  return claims;
}

/** Verifies the signature and each claim, as of now. */
async function verifySignature(
  deps: AccessTokenDeps,
  token: string,
  key: SigningKey,
): Promise<AccessClaims | undefined> {
  const nowMs = deps.databaseClock.nowMs();
  try {
    const { payload } = await jwtVerify(token, key.publicKey, {
      algorithms: [key.algorithm],
      issuer: deps.issuer,
      audience: deps.audience,
      typ: TYPE,
      currentDate: new Date(nowMs),
      requiredClaims: ["sub", "sid", "jti", "iat", "exp", "client_id"],
    });
    return readClaims(payload, nowMs);
  } catch {
    return undefined;
  }
}

interface Header {
  readonly alg: string;
  readonly kid: string;
}

function readHeader(token: string): Header | undefined {
  const parts = token.split(".");
  if (parts.length !== 3 || !parts.every(isCanonicalBase64Url)) return undefined;
  const [header, payload] = parts.slice(0, 2).map(readObject);
  if (header === undefined || payload === undefined) return undefined;
  const { alg, typ, kid, ...others } = header;
  if (Object.keys(others).length > 0 || typ !== TYPE) return undefined;
  return typeof alg === "string" && typeof kid === "string" ? { alg, kid } : undefined;
}

/** Whether a part is the only text for its bytes: no padding, no white space, no unused bits at the end. */
function isCanonicalBase64Url(part: string): boolean {
  return PART.test(part) && Buffer.from(part, "base64url").toString("base64url") === part;
}

/**
 * Reads an object that is written as this service writes JSON. This refuses a member that occurs twice, because readers
 * choose different values of it.
 */
function readObject(part: string): Record<string, unknown> | undefined {
  const text = Buffer.from(part, "base64url").toString("utf8");
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value !== "object" || value === null || Array.isArray(value)) return undefined;
    return JSON.stringify(value) === text ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

function readClaims(payload: Readonly<Record<string, unknown>>, nowMs: number): AccessClaims | undefined {
  const { sub, sid, jti, iat, exp, aud, client_id: clientId } = payload;
  if (typeof sub !== "string" || typeof sid !== "string" || typeof jti !== "string") return undefined;
  if (!Number.isSafeInteger(iat) || !Number.isSafeInteger(exp)) return undefined;
  if (clientId !== CLIENT_ID || typeof aud !== "string") return undefined;
  const [issuedAt, expiresAt] = [iat as number, exp as number];
  if (issuedAt >= expiresAt) return undefined;
  const claims = Object.freeze({
    userId: sub,
    sessionId: sid,
    tokenId: jti,
    issuedAtMs: issuedAt * 1000,
    expiresAtMs: expiresAt * 1000,
  });
  return isCurrent(claims, nowMs) ? claims : undefined;
}

/** Whether a token is valid at this time: it has not expired, and was not issued too far ahead. */
function isCurrent({ issuedAtMs, expiresAtMs }: AccessClaims, nowMs: number): boolean {
  return Math.floor(nowMs / 1000) * 1000 < expiresAtMs && issuedAtMs <= nowMs + MAX_AHEAD_SECONDS * 1000;
}

/** A token whose signature was verified. */
export interface VerifiedToken {
  /** The key that verified the signature. */
  readonly key: SigningKey;
  readonly claims: AccessClaims;
}

/**
 * A memory of access tokens whose signature was verified, because a client shows the same token at each call for
 * minutes, and an Ed25519 verification takes about 0.1 ms. It keeps digests, never a token. It remembers only what
 * can't change: which key verified which token. The caller must judge at each use whether that key still counts and
 * whether the token is valid now.
 */
export class VerifiedTokens {
  readonly #tokens = new Lru<string, VerifiedToken>(MAX_TOKENS);

  get(token: string): VerifiedToken | undefined {
    return this.#tokens.get(digestOf(token));
  }

  /** Remembers a token. The least recently used one is forgotten if there are more than 10,000. */
  add(token: string, verified: VerifiedToken): void {
    this.#tokens.set(digestOf(token), verified);
  }
}

function digestOf(token: string): string {
  return hash("sha256", token, "base64url");
}
