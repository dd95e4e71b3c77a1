import type { Client } from "@connectrpc/connect";
import type { AdminService } from "../../src/gen/latchkey/v1/admin_service_pb.ts";
import type { AuthService } from "../../src/gen/latchkey/v1/auth_service_pb.ts";
import type { KeyService } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import type { AccessTokenVerdict, VerifiedUser } from "./access-tokens.ts";
import type { LatchkeyEvents, LatchkeyState } from "./events.ts";
import type { OnEnd } from "./lasting-verdicts.ts";
import type { StreamState } from "./near/watch-stream.ts";
import type { RateLimitRequest, RateLimitVerdict, Verdict, VerifyRequest } from "./verdict.ts";

/** Counts since the client was made, for your own metrics. */
export interface LatchkeyStats {
  readonly state: LatchkeyState;
  /** Verdicts that `verify` gave. */
  readonly verdicts: number;
  /** Calls of `verify`, `checkRateLimit` and `verifyAccessToken` that ended without an answer. */
  readonly failures: number;
  /** With near verification: verdicts that needed no call. */
  readonly hits: number;
  /** With near verification: verdicts that needed a call. */
  readonly misses: number;
  /** Of those, given by a record that is older than its bound, because the service was unreachable. */
  readonly stale: number;
  /** Calls in the background for keys that are accepted without a call: one a minute for each key. */
  readonly rechecks: number;
  /** Calls of VerifyKey, BatchVerifyKeys and CheckRateLimit. */
  readonly calls: number;
  /** Of those, BatchVerifyKeys. */
  readonly batches: number;
  /** Calls of BatchCheckRateLimits, with `counting: "after"`. */
  readonly reports: number;
  readonly retries: number;
  /** Calls of `verify` that wait for their batch now. */
  readonly waiting: number;
  /** Calls to the service for verdicts that are under way now. */
  readonly underWay: number;
  /** The stream of changes. */
  readonly stream: StreamState;
  /** How long ago the stream's knowledge was surely true; Infinity without any. */
  readonly streamAgeMs: number;
  /** Keys that are kept. */
  readonly keptKeys: number;
  /** Estimated bytes of the kept keys. */
  readonly keptBytes: number;
}

export interface CallOptions {
  /** Ends the call early: it rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

/** A client of one service. Make one for a process, and close it at its end. */
export interface Latchkey extends AsyncDisposable {
  /**
   * Resolves if the service answers, takes the credential, and shows the keys of access tokens; with near verification,
   * once the stream of changes is there. It also resolves where near verification can't be: if the service has no room
   * for the stream (the state is then "no stream"), or is older than near verification (told to `error`).
   *
   * @throws LatchkeyUnavailable, LatchkeyCredentialError: what is wrong
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
  /**
   * The verdict that needs no call; undefined where one is needed: then call `verify`. It makes no promise, and costs a
   * few microseconds. Always undefined without near verification.
   *
   * @throws LatchkeyRequestError as `verify`
   */
  verifySync(request: VerifyRequest): Verdict | undefined;
  /** Counts a call against the limits of a key, or of any other subject. @throws as `verify` */
  checkRateLimit(request: RateLimitRequest, options?: CallOptions): Promise<RateLimitVerdict>;
  /**
   * Verifies a person's access token: its signature here, and its session by the stream of changes. The first call
   * opens the stream. Where its knowledge is too old or too short, one call asks the service.
   *
   * @throws LatchkeyUnavailable if it is not known whether the token is good
   */
  verifyAccessToken(token: string): Promise<AccessTokenVerdict>;
  /**
   * Judges a key again whenever the stream of changes tells of it or of its owner, or may have missed changes: for
   * streams and sockets, which outlive the verdict that they began with. It counts nothing, and opens the stream. The
   * raw key stays in memory until the watch ends.
   *
   * @param verdict what `verify` gave for this request: VALID
   * @param onEnd told once: the refusal, or LatchkeyUnavailable if no answer knew of a change within 5 s
   * @returns a function that ends the watch; call it when the stream ends
   */
  watchKey(request: VerifyRequest, verdict: Verdict, onEnd: OnEnd<Verdict>): () => void;
  /**
   * As `watchKey`, for an access token: by its session, and by the keys that sign.
   *
   * @param user whom the token belongs to
   */
  watchAccessToken(token: string, user: VerifiedUser, onEnd: OnEnd<AccessTokenVerdict>): () => void;
  /** The generated client of AuthService. Its calls have the credential, unless they bring their own `authorization`. */
  readonly auth: Client<typeof AuthService>;
  /** The generated client of KeyService; as `auth`. */
  readonly keys: Client<typeof KeyService>;
  /** The generated client of AdminService; as `auth`. */
  readonly admin: Client<typeof AdminService>;
  /** Adds a listener. @returns a function that removes it */
  on<E extends keyof LatchkeyEvents>(event: E, listener: (value: LatchkeyEvents[E]) => void): () => void;
  stats(): LatchkeyStats;
  /**
   * Sends the last reports of admitted calls, ends the stream and closes the connection. Calls that wait, and later
   * ones, reject with LatchkeyUnavailable.
   */
  close(): Promise<void>;
}
