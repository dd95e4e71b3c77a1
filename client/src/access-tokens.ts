import { type Client, Code, ConnectError, createContextValues } from "@connectrpc/connect";
import { errors, type JWTPayload, type JWTVerifyGetKey, jwtVerify } from "jose";
import type { AuthService } from "../../src/gen/latchkey/v1/auth_service_pb.ts";
import type { AgeClock } from "../../src/lib/clock.ts";
import { errorOf, LatchkeyUnavailable } from "./errors.ts";
import type { NearCache } from "./near/near-cache.ts";
import { countsNothing } from "./service-transport.ts";

/** The person behind an access token. */
export interface VerifiedUser {
  readonly userId: string;
  readonly sessionId: string;
  readonly expiresAt: Date;
}

export type AccessTokenVerdict =
  | ({ readonly valid: true } & VerifiedUser)
  | {
      readonly valid: false;
      readonly userId?: undefined;
      readonly sessionId?: undefined;
      readonly expiresAt?: undefined;
    };

/** The source of the keys that sign access tokens. */
export interface KeySet {
  readonly find: JWTVerifyGetKey;
  /** Loads the keys now. Rejects if they can't be had. */
  load(): Promise<void>;
}

export interface AccessTokensDeps {
  readonly issuer: string;
  readonly audience: string;
  readonly keySet: KeySet;
  readonly auth: Pick<Client<typeof AuthService>, "getCurrentUser">;
  /** The knowledge of the stream about sessions and about the database's time. */
  readonly near: Pick<NearCache, "sessionEnded" | "streamAgeMs" | "databaseTime">;
  /** Opens the stream, if it is not open. */
  readonly openStream: () => void;
  readonly clock: AgeClock;
  /** Maximum age of the stream's knowledge that is used. */
  readonly maxStalenessMs: number;
  readonly deadlineMs: number;
  /** Told about tokens of another issuer or for another audience: mostly a mistake in the options. */
  readonly onError: (error: Error) => void;
}

const REFUSED: AccessTokenVerdict = Object.freeze({ valid: false });
/** The service's tokens have about 500. */
const MAX_TOKEN_LENGTH = 2048;

/**
 * A process of the service may learn of a revoked signing key up to 5 s late, so only a key set that was loaded later
 * than this after the news is believed.
 */
export const KEY_SET_LAG_MS = 6_000;
/** A key set that can't be loaded is asked for again after this. */
const LOAD_AGAIN_MS = 1_000;

/** A token whose signature, issuer and audience are right. */
interface Token {
  readonly user: VerifiedUser;
  readonly issuedAtMs: number;
}

/**
 * Verifies access tokens (RFC 9068). The signature, the issuer and the audience are judged here, so that a forged token
 * costs no call. The stream tells which sessions have ended, and the database's time. While that knowledge is younger
 * than the bound, no call is made.
 *
 * GetCurrentUser is asked with that token where the stream's knowledge is older, where it does not reach back to the
 * token's issue, while the token's end is within the uncertainty of the time, and while the key set may be older than
 * the last change of a signing key.
 */
export class AccessTokens {
  readonly #deps: AccessTokensDeps;
  /** Claims whose mismatch was told. */
  readonly #told = new Set<string>();
  /** `elapsedMs` at which the last load of the key set that succeeded began. */
  #loadedAtMs = Number.NEGATIVE_INFINITY;
  /** A key set that was loaded before this moment may have a signing key that is revoked. */
  #provenFromMs = Number.POSITIVE_INFINITY;
  #loading: Promise<void> | undefined;
  #loadAgainAtMs = Number.NEGATIVE_INFINITY;

  constructor(deps: AccessTokensDeps) {
    this.#deps = deps;
  }

  /** @throws LatchkeyUnavailable if the keys can't be had in time */
  async ready(): Promise<void> {
    try {
      await this.#load();
    } catch (cause) {
      throw keysUnavailable(cause);
    }
  }

  /** The stream told that a signing key changed, or that changes may have been missed. */
  signingKeysChanged(): void {
    this.#provenFromMs = this.#deps.clock.elapsedMs() + KEY_SET_LAG_MS;
  }

  /** @throws LatchkeyUnavailable if it is not known whether the token is good */
  async verify(text: string): Promise<AccessTokenVerdict> {
    this.#deps.openStream();
    // Before the signature is verified: a key set that arrives meanwhile proves nothing about the one that was used.
    const isKeySetProven = this.#isKeySetProven();
    const token = await this.#read(text);
    if (token === undefined) return REFUSED;
    const isGood = this.#judge(token, isKeySetProven) ?? (await this.#ask(text));
    return isGood ? Object.freeze({ valid: true, ...token.user }) : REFUSED;
  }

  /** By what the stream has told; undefined if the service must be asked. */
  #judge({ user, issuedAtMs }: Token, isKeySetProven: boolean): boolean | undefined {
    const { near, maxStalenessMs } = this.#deps;
    const hasEnded = near.sessionEnded(user.sessionId, issuedAtMs);
    // An end is final, so its news may have any age.
    if (hasEnded === true) return false;
    const time = near.databaseTime();
    const isKnown = hasEnded === false && near.streamAgeMs < maxStalenessMs && isKeySetProven;
    return isKnown && time !== undefined && time.hiMs < user.expiresAt.getTime() ? true : undefined;
  }

  async #ask(text: string): Promise<boolean> {
    try {
      await this.#deps.auth.getCurrentUser(
        {},
        {
          headers: { authorization: `Bearer ${text}` },
          timeoutMs: this.#deps.deadlineMs,
          contextValues: createContextValues().set(countsNothing, true),
        },
      );
      return true;
    } catch (error) {
      if (error instanceof ConnectError && error.code === Code.Unauthenticated) return false;
      throw unavailable(error);
    }
  }

  async #read(text: string): Promise<Token | undefined> {
    if (text.length > MAX_TOKEN_LENGTH) return undefined;
    const { issuer, audience, keySet, near } = this.#deps;
    const time = near.databaseTime();
    try {
      const { payload } = await jwtVerify(text, keySet.find, {
        issuer,
        audience,
        algorithms: ["EdDSA", "ES256"],
        typ: "at+jwt",
        // This machine's clock may be wrong. The earliest time that the database may have refuses no good token. If it
        // is not known, the service judges the times.
        currentDate: time === undefined ? issueDateOf(text) : new Date(time.loMs),
        requiredClaims: ["sub", "sid", "iat", "exp"],
      });
      return tokenOf(payload);
    } catch (error) {
      if (error instanceof errors.JWTClaimValidationFailed) this.#tell(error.claim);
      if (isRefusal(error)) return undefined;
      throw keysUnavailable(error);
    }
  }

  /** Whether the key set is surely younger than the last news of signing keys. If not, it is loaded in the background. */
  #isKeySetProven(): boolean {
    if (this.#loadedAtMs >= this.#provenFromMs) return true;
    const nowMs = this.#deps.clock.elapsedMs();
    if (nowMs >= this.#provenFromMs && nowMs >= this.#loadAgainAtMs) {
      this.#loadAgainAtMs = nowMs + LOAD_AGAIN_MS;
      this.#load().catch(() => {});
    }
    return false;
  }

  #load(): Promise<void> {
    const beganAtMs = this.#deps.clock.elapsedMs();
    this.#loading ??= this.#deps.keySet
      .load()
      .then(() => {
        this.#loadedAtMs = beganAtMs;
      })
      .finally(() => {
        this.#loading = undefined;
      });
    return this.#loading;
  }

  /** Tokens of another issuer are mostly our own mistake, so it is told: once for each claim. */
  #tell(claim: string): void {
    if ((claim !== "iss" && claim !== "aud") || this.#told.has(claim)) return;
    this.#told.add(claim);
    const option = claim === "iss" ? "issuer" : "audience";
    this.#deps.onError(
      new Error(
        `an access token has another \`${claim}\` than the option \`accessTokens.${option}\` says: it is refused`,
      ),
    );
  }
}

function tokenOf({ sub, sid, iat, exp }: JWTPayload): Token | undefined {
  if (typeof sub !== "string" || typeof sid !== "string" || typeof iat !== "number" || typeof exp !== "number") {
    return undefined;
  }
  return { user: { userId: sub, sessionId: sid, expiresAt: new Date(exp * 1000) }, issuedAtMs: iat * 1000 };
}

/** `iat` of a token that is not verified yet. It serves as the time of its verification, and decides nothing. */
function issueDateOf(token: string): Date {
  try {
    const { iat } = JSON.parse(Buffer.from(token.split(".")[1] ?? "", "base64url").toString());
    return new Date(Number.isSafeInteger(iat) ? iat * 1000 : 0);
  } catch {
    return new Date(0);
  }
}

/** Whether the token is at fault, and not the way to the keys. */
function isRefusal(error: unknown): boolean {
  if (error instanceof errors.JWKSTimeout || error instanceof errors.JWKSInvalid) return false;
  // The plain class is what jose throws for an answer of the key set's server that is none.
  return error instanceof errors.JOSEError && error.constructor !== errors.JOSEError;
}

function keysUnavailable(cause: unknown): LatchkeyUnavailable {
  return new LatchkeyUnavailable("the keys of access tokens can't be loaded from `accessTokens.jwksUrl`", { cause });
}

/** A failure of the call. Whatever it is, the token was not judged. */
function unavailable(error: unknown): Error {
  const failure = errorOf(error);
  return failure instanceof LatchkeyUnavailable ? failure : new LatchkeyUnavailable(failure.message, { cause: error });
}
