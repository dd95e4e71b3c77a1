import { jwtVerify, SignJWT } from "jose";
import type { DatabaseClock } from "../../changes/database-clock.ts";
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
 * @returns undefined for a token that is not valid now
 * @throws what `SigningKeys.verifier` throws; then it is unknown whether the token is valid
 */
export async function verifyAccessToken(deps: AccessTokenDeps, token: string): Promise<AccessClaims | undefined> {
  const header = readHeader(token);
  if (header === undefined) return undefined;
  const key = await deps.signingKeys.verifier(header.kid);
  if (key === undefined || key.algorithm !== header.alg) return undefined;
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
  if (token.length > MAX_TOKEN_LENGTH) return undefined;
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
  if (issuedAt >= expiresAt || issuedAt > nowMs / 1000 + MAX_AHEAD_SECONDS) return undefined;
  return {
    userId: sub,
    sessionId: sid,
    tokenId: jti,
    issuedAtMs: issuedAt * 1000,
    expiresAtMs: expiresAt * 1000,
  };
}
