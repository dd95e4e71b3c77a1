/**
 * THE NEAR CACHE: records of keys in this process, which the stream of changes keeps fresh.
 *
 *   near-cache.ts      what is kept, and for how long
 *   near-judgement.ts  what a judgement of a kept record says
 *   stream-attempt.ts  one call of WatchRevocations, as the cache sees it
 *
 * The cache makes no call and sets no timer. It reads no clock but its own.
 */
import type { VerifyKeyResponse, WatchRevocationsResponse } from "../../../src/gen/latchkey/v1/key_service_pb.ts";
import type { AgeClock } from "../../../src/lib/clock.ts";
import type { VerifyRequest } from "../verdict.ts";
import type { NearJudgement } from "./near-judgement.ts";
import type { AppliedMessage, StreamAttempt } from "./stream-attempt.ts";

export interface NearCacheOptions {
  readonly clock: AgeClock;
  /** A number from 0 up to, but not including, 1. It spreads the lives of records. */
  readonly random: () => number;
  readonly maxKeys: number;
  /** Bound of the estimated bytes of all records. */
  readonly maxBytes: number;
  /** Maximum age of a record that is used while the service answers. */
  readonly maxStalenessMs: number;
}

/** The state of the cache when a call was sent. */
export interface Exchange {
  /** `elapsedMs` at that moment. */
  readonly sentAtMs: number;
  /** `skippedMs` of the clock, and the number of resyncs, at that moment. */
  readonly skippedMs: number;
  readonly resyncs: number;
}

/** All times are `clock.elapsedMs()`, unless a comment says otherwise. */
export declare class NearCache {
  constructor(options: NearCacheOptions);
  /** Number of kept records of keys. */
  readonly size: number;
  /** Estimated bytes of the kept records. */
  readonly bytes: number;
  /** The cursor to resume with; "" for a start without. */
  readonly cursor: string;
  /** The age of the stream's knowledge; Infinity without any. For access tokens and stats. */
  readonly streamAgeMs: number;
  /** Notes the state before a call is sent, and is passed to `keep` with the answer. Take one for each attempt of a call. */
  begin(): Exchange;
  /** Takes the answer to a call, and keeps it if the rules allow it. */
  keep(exchange: Exchange, request: VerifyRequest, response: VerifyKeyResponse): void;
  /**
   * The judgement of a kept and fresh record, or of a text whose form no key has; undefined: a call is needed. Counts no
   * limit.
   *
   * @throws LatchkeyRequestError for a request that the service would refuse with INVALID_ARGUMENT
   */
  judge(request: VerifyRequest): NearJudgement | undefined;
  /**
   * As `judge`, also by a record that is older than its bound, if its age is below `staleOkMs`. For outages alone.
   */
  judgeStale(request: VerifyRequest, staleOkMs: number): NearJudgement | undefined;
  /** Call it just before a stream is opened. `cursor`: as sent; "" without. */
  openStream(cursor: string): StreamAttempt;
  /** Applies one message, in one turn. */
  apply(attempt: StreamAttempt, message: WatchRevocationsResponse): AppliedMessage;
  /** The stream of this attempt ended. */
  streamEnded(attempt: StreamAttempt): void;
  /** Whether this stream can no longer prove freshness, because the machine was suspended since it was opened. Then open another one. */
  mustReopen(attempt: StreamAttempt): boolean;
  /**
   * Whether a session is known to have ended. undefined: not known, before the first whole message of a stream, or
   * because too many sessions ended. It says nothing about the age of that knowledge: see `streamAgeMs`.
   *
   * @param issuedAtMs when the token was issued, by the database's clock
   */
  sessionEnded(sessionId: string, issuedAtMs: number): boolean | undefined;
  /** The database's time now, as an interval; undefined if it is not known. */
  databaseTime(): { readonly loMs: number; readonly hiMs: number } | undefined;
  /** Drops every record. Ended sessions stay. */
  clear(): void;
}
