import { jwtVerify, SignJWT } from "jose";
import type { DatabaseClock } from "../../changes/database-clock.ts";
import type { SigningKey } from "../signing/signing-key.ts";

/** What an access token says (RFC 9068). */
export interface AccessClaims {
  readonly userId: string;
  readonly sessionId: string;
  /** `jti`: the session and how often it was refreshed, so that a repeated Refresh makes the same token. */
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
/** `client_id`: tokens are made for whoever logs in here; there are no other clients. */
const CLIENT_ID = "latchkey";
/** Ours have about 500. */
const MAX_TOKEN_LENGTH = 2048;
/** How far ahead of this process' knowledge of the database's clock another process may have signed. */
const MAX_AHEAD_SECONDS = 10;
const PART = /^[A-Za-z0-9_-]+$/;

/** @throws what `SigningKeys.signer` throws */
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
 * Reads an access token. It must be what `signAccessToken` writes and nothing else: the key comes from our own set by
 * kid, algorithm and type are that key's and ours (RFC 8725), and a header that could bring a key of its own, or any
 * other member, is refused before a signature is computed.
 *
 * @returns undefined for every token that is not good now
 * @throws what `SigningKeys.verifier` throws: then it is not known whether the token is good
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

/** One text, one token: no padding, no white space, no stray bits at the end. */
function isCanonicalBase64Url(part: string): boolean {
  return PART.test(part) && Buffer.from(part, "base64url").toString("base64url") === part;
}

/** JSON as we write it; so a member that occurs twice, of which readers choose different ones, is refused. */
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
