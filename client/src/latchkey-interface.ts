import type { Client } from "@connectrpc/connect";
import type { AdminService } from "../../src/gen/latchkey/v1/admin_service_pb.ts";
import type { AuthService } from "../../src/gen/latchkey/v1/auth_service_pb.ts";
import type { KeyService } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import type { AccessTokenVerdict } from "./access-tokens.ts";
import type { LatchkeyEvents, LatchkeyState } from "./events.ts";
import type { RateLimitRequest, RateLimitVerdict, Verdict, VerifyRequest } from "./verdict.ts";

/** Counts since the client was made, for your own metrics. */
export interface LatchkeyStats {
  readonly state: LatchkeyState;
  /** Verdicts that `verify` gave. */
  readonly verdicts: number;
  /** Calls of `verify`, `checkRateLimit` and `verifyAccessToken` that ended without an answer. */
  readonly failures: number;
  /** Calls of VerifyKey, BatchVerifyKeys and CheckRateLimit. */
  readonly calls: number;
  /** Of those, BatchVerifyKeys. */
  readonly batches: number;
  readonly retries: number;
  /** Calls of `verify` that wait for their batch now. */
  readonly waiting: number;
  /** Calls to the service for verdicts that are under way now. */
  readonly underWay: number;
}

export interface CallOptions {
  /** Ends the call early: it rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

/** A client of one service. Make one for a process, and close it at its end. */
export interface Latchkey extends AsyncDisposable {
  /**
   * Resolves if the service answers, takes the credential, and shows the keys of access tokens.
   *
   * @throws LatchkeyUnavailable, LatchkeyCredentialError
   */
  ready(): Promise<void>;
  /**
   * Judges an API key and counts the call. A refused key is a verdict, not an error.
   *
   * @throws LatchkeyUnavailable if there is no verdict: answer 503
   * @throws LatchkeyCredentialError if the service refused this client
   * @throws LatchkeyRequestError if a field of the request is wrong
   */
  verify(request: VerifyRequest, options?: CallOptions): Promise<Verdict>;
  /** Counts a call against the limits of a key, or of any other subject. @throws as `verify` */
  checkRateLimit(request: RateLimitRequest, options?: CallOptions): Promise<RateLimitVerdict>;
  /**
   * Verifies a person's access token: its signature here, and its session by one call.
   *
   * @throws LatchkeyUnavailable if it is not known whether the token is good
   */
  verifyAccessToken(token: string): Promise<AccessTokenVerdict>;
  /** The generated client of AuthService. Its calls have the credential, unless they bring their own `authorization`. */
  readonly auth: Client<typeof AuthService>;
  /** The generated client of KeyService; as `auth`. */
  readonly keys: Client<typeof KeyService>;
  /** The generated client of AdminService; as `auth`. */
  readonly admin: Client<typeof AdminService>;
  /** Adds a listener. @returns a function that removes it */
  on<E extends keyof LatchkeyEvents>(event: E, listener: (value: LatchkeyEvents[E]) => void): () => void;
  stats(): LatchkeyStats;
  /** Closes the connection. Calls that wait, and later ones, reject with LatchkeyUnavailable. */
  close(): Promise<void>;
}
