import { type Client, Code, ConnectError, createContextValues } from "@connectrpc/connect";
import { errors, type JWTPayload, type JWTVerifyGetKey, jwtVerify } from "jose";
import type { AuthService } from "../../src/gen/latchkey/v1/auth_service_pb.ts";
import { errorOf, LatchkeyUnavailable } from "./errors.ts";
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
  readonly deadlineMs: number;
  /** Told about tokens of another issuer or for another audience: mostly a mistake in the options. */
  readonly onError: (error: Error) => void;
}

const REFUSED: AccessTokenVerdict = Object.freeze({ valid: false });
/** The service's tokens have about 500. */
const MAX_TOKEN_LENGTH = 2048;

/**
 * Verifies access tokens (RFC 9068). The signature, the issuer and the audience are judged here, so that a forged token
 * costs no call. Then GetCurrentUser is asked with that token: only the service knows whether its session still lives,
 * and its clock decides about the expiry.
 */
export class AccessTokens {
  readonly #deps: AccessTokensDeps;
  /** Claims whose mismatch was told. */
  readonly #told = new Set<string>();

  constructor(deps: AccessTokensDeps) {
    this.#deps = deps;
  }

  /** @throws LatchkeyUnavailable if the keys can't be had in time */
  async ready(): Promise<void> {
    try {
      await this.#deps.keySet.load();
    } catch (cause) {
      throw keysUnavailable(cause);
    }
  }

  /** @throws LatchkeyUnavailable if it is not known whether the token is good */
  async verify(token: string): Promise<AccessTokenVerdict> {
    const user = await this.#read(token);
    if (user === undefined) return REFUSED;
    try {
      await this.#deps.auth.getCurrentUser(
        {},
        {
          headers: { authorization: `Bearer ${token}` },
          timeoutMs: this.#deps.deadlineMs,
          contextValues: createContextValues().set(countsNothing, true),
        },
      );
    } catch (error) {
      if (error instanceof ConnectError && error.code === Code.Unauthenticated) return REFUSED;
      throw unavailable(error);
    }
    return Object.freeze({ valid: true, ...user });
  }

  async #read(token: string): Promise<VerifiedUser | undefined> {
    if (token.length > MAX_TOKEN_LENGTH) return undefined;
    const { issuer, audience, keySet } = this.#deps;
    try {
      // The service judges the times: this machine's clock may be wrong.
      const { payload } = await jwtVerify(token, keySet.find, {
        issuer,
        audience,
        algorithms: ["EdDSA", "ES256"],
        typ: "at+jwt",
        currentDate: issueDateOf(token),
        requiredClaims: ["sub", "sid", "iat", "exp"],
      });
      return userOf(payload);
    } catch (error) {
      if (error instanceof errors.JWTClaimValidationFailed) this.#tell(error.claim);
      if (isRefusal(error)) return undefined;
      throw keysUnavailable(error);
    }
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

function userOf({ sub, sid, exp }: JWTPayload): VerifiedUser | undefined {
  if (typeof sub !== "string" || typeof sid !== "string" || typeof exp !== "number") return undefined;
  return { userId: sub, sessionId: sid, expiresAt: new Date(exp * 1000) };
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
