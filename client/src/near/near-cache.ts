/**
 * THE NEAR CACHE: records of keys in this process, which the stream of changes keeps fresh. It is the record cache of
 * the service on the other side of the wire, with the stream in place of the polls.
 *
 *   near-cache.ts        what is kept, and for how long
 *   near-judgement.ts    judgements of kept records
 *   near-record.ts       one key, prepared for judging
 *   near-keys.ts         the bounded memory of records
 *   absent-keys.ts       the negative cache
 *   shared-values.ts     values that many records have in common
 *   stream-knowledge.ts  what the stream has told: epoch, floor, age, cursor
 *   stream-attempt.ts    one call of WatchRevocations
 *   told-changes.ts      which keys and owners changed lately
 *   ended-sessions.ts    which sessions have ended
 *   remembered-numbers.ts the bounded map behind both
 *   watch-stream.ts      keeps the stream up, and gives its messages to the cache
 *   database-time.ts     the database's time, as an interval
 *   times.ts             times of messages, and the drift of clocks
 *
 * The cache makes no call, sets no timer and reads no clock but its own. Every bound errs towards a call.
 */
import type {
  Freshness,
  VerifyKeyResponse,
  WatchRevocationsResponse,
} from "../../../src/gen/latchkey/v1/key_service_pb.ts";
import type { VerifyKeyInput } from "../../../src/keys/check-use.ts";
import { isOfEnvironment } from "../../../src/keys/judge-key.ts";
import { keyFormOf, keyIdOf, MAX_KEY_LENGTH } from "../../../src/keys/key-form.ts";
import { type AgeClock, MINUTE_MS } from "../../../src/lib/clock.ts";
import { ownText } from "../../../src/lib/text.ts";
import { KeyDigests } from "../key-digest.ts";
import { checkedInput } from "../request.ts";
import { NOT_JUDGED, OF_THE_USE, type VerifyRequest, verdictNameOf } from "../verdict.ts";
import { AbsentKeys } from "./absent-keys.ts";
import { DatabaseTime, type TimeInterval } from "./database-time.ts";
import { INVALID_BY_FORM, invalidJudgement, judgementOf, mayBeApiKey, type NearJudgement } from "./near-judgement.ts";
import { NearKeys } from "./near-keys.ts";
import { isLater, nearRecord, type RecordTimes } from "./near-record.ts";
import { SharedValues } from "./shared-values.ts";
import type { AppliedMessage, StreamAttempt } from "./stream-attempt.ts";
import { type Dated, type Standing, StreamKnowledge, tellsOf } from "./stream-knowledge.ts";
import { DRIFT, durationMs, timestampMs } from "./times.ts";

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
  /** `skippedMs` of the clock at that moment. */
  readonly skippedMs: number;
  /** How often everything was dropped before that moment. */
  readonly drops: number;
}

/** The rules of judging that this client knows. An answer that needs others is not kept. */
const NEAR_RULES = 1;
/** A record's life without a new answer, and how far it varies, so that records do not end together. */
const LIFE_MS = 10 * MINUTE_MS;
const LIFE_SPREAD = 0.2;
/** Maximum age of an answer INVALID. */
const ABSENT_MS = 5000;

/** All times are `clock.elapsedMs()`, unless a comment says otherwise. */
export class NearCache {
  readonly #options: NearCacheOptions;
  readonly #clock: AgeClock;
  readonly #digests = new KeyDigests();
  readonly #shared = new SharedValues();
  readonly #keys: NearKeys;
  readonly #absent = new AbsentKeys();
  readonly #stream: StreamKnowledge;
  readonly #databaseTime: DatabaseTime;
  #drops = 0;

  constructor(options: NearCacheOptions) {
    this.#options = options;
    this.#clock = options.clock;
    this.#keys = new NearKeys(options);
    this.#databaseTime = new DatabaseTime(options.clock);
    this.#stream = new StreamKnowledge(options.clock, {
      dropAll: () => this.clear(),
      dropChanged: (subjectId, position) => {
        this.#keys.deleteChanged(subjectId, position);
        this.#absent.deleteChanged(subjectId, position);
      },
    });
  }

  /** Number of kept records of keys. */
  get size(): number {
    return this.#keys.size;
  }

  /** Estimated bytes of the kept records. */
  get bytes(): number {
    return this.#keys.bytes;
  }

  /** The cursor to resume with; "" for a start without. */
  get cursor(): string {
    return this.#stream.cursor;
  }

  /** The age of the stream's knowledge; Infinity without any. For access tokens and stats. */
  get streamAgeMs(): number {
    const nowMs = this.#clock.elapsedMs();
    const { trueAtMs } = this.#stream;
    return trueAtMs >= this.#clock.skippedAtMs ? nowMs - trueAtMs : Number.POSITIVE_INFINITY;
  }

  /** Notes the state before a call is sent, for `keep`. Take one for each attempt of a call. */
  begin(): Exchange {
    // Read first, because it notices a suspension.
    const sentAtMs = this.#clock.elapsedMs();
    return { sentAtMs, skippedMs: this.#clock.skippedMs, drops: this.#drops };
  }

  /**
   * Takes the answer to a call, and keeps it if the rules allow it. An answer that speaks against a record ends the
   * record, whether or not it is kept.
   */
  keep(exchange: Exchange, request: VerifyRequest, response: VerifyKeyResponse): void {
    const { freshness, key, nearRules } = response;
    const nowMs = this.#clock.elapsedMs();
    // Without freshness, the form or the environment of the text was refused: that is no fact about a key.
    if (freshness === undefined || request.apiKey.length > MAX_KEY_LENGTH) return;
    const isSuspended = exchange.skippedMs !== this.#clock.skippedMs;
    if (!isSuspended && freshness.serveTime !== undefined) {
      this.#databaseTime.observe(timestampMs(freshness.serveTime), exchange.sentAtMs, nowMs);
    }
    const verdict = verdictNameOf(response);
    const digest = this.#digests.of(request.apiKey);
    if (!OF_THE_USE.has(verdict)) this.#keys.delete(digest);
    if (isSuspended || exchange.drops !== this.#drops) return;
    if (NOT_JUDGED.has(verdict) || nearRules < 1 || nearRules > NEAR_RULES) return;
    if (verdict === "INVALID") this.#keepAbsent(digest, exchange, request, freshness);
    else if (key !== undefined) this.#keepKey(digest, exchange, response, freshness);
  }

  /**
   * The judgement of a kept and fresh record, or of a text whose form no key has; undefined: a call is needed. Counts
   * no limit.
   *
   * @throws LatchkeyRequestError for a request that the service would refuse with INVALID_ARGUMENT
   */
  judge(request: VerifyRequest): NearJudgement | undefined {
    return this.#judge(checkedInput(request), 0);
  }

  /** As `judge`, also by a record that is older than its bound, if its age is below `staleOkMs`. For outages alone. */
  judgeStale(request: VerifyRequest, staleOkMs: number): NearJudgement | undefined {
    return this.#judge(checkedInput(request), staleOkMs);
  }

  /** Call it just before a stream is opened. @param cursor as it is sent; "" without */
  openStream(cursor: string): StreamAttempt {
    return this.#stream.open(cursor);
  }

  /** Applies one message, in one turn. */
  apply(attempt: StreamAttempt, message: WatchRevocationsResponse): AppliedMessage {
    const applied = this.#stream.apply(attempt, message);
    const { serveTime, asOfElapsed } = message;
    const nowMs = this.#clock.elapsedMs();
    if (serveTime !== undefined && attempt.skippedMs === this.#clock.skippedMs) {
      // The message was written after the poll that it tells of.
      const sentAtMs = tellsOf(attempt.openedAtMs, asOfElapsed === undefined ? 0 : durationMs(asOfElapsed));
      this.#databaseTime.observe(timestampMs(serveTime), Math.min(sentAtMs, nowMs), nowMs);
    }
    return applied;
  }

  /** The stream of this attempt ended. */
  streamEnded(attempt: StreamAttempt): void {
    this.#stream.ended(attempt);
  }

  /**
   * Whether this stream can no longer prove freshness, because the machine was suspended since it was opened, or its
   * clock was set forward. Then open another one.
   */
  mustReopen(attempt: StreamAttempt): boolean {
    this.#clock.elapsedMs();
    return attempt.skippedMs !== this.#clock.skippedMs;
  }

  /**
   * Whether a session is known to have ended. undefined: not known, before the first whole message of a stream, or
   * because too many sessions ended. It says nothing about the age of that knowledge: see `streamAgeMs`.
   *
   * @param issuedAtMs when the token was issued, by the database's clock
   */
  sessionEnded(sessionId: string, issuedAtMs: number): boolean | undefined {
    return this.#stream.sessionEnded(sessionId, issuedAtMs);
  }

  /** How an answer about these subjects stands to what the stream has told. */
  standingOf(answer: Dated, subjectIds: readonly string[]): Standing {
    return this.#stream.standingOf(answer, subjectIds);
  }

  /** The database's time now, as an interval; undefined if it is not known. */
  databaseTime(): TimeInterval | undefined {
    return this.#databaseTime.at(this.#clock.elapsedMs());
  }

  /** Drops every record, and the answers that are under way. Ended sessions stay. */
  clear(): void {
    this.#drops++;
    this.#keys.clear();
    this.#absent.clear();
  }

  #judge(input: VerifyKeyInput, staleOkMs: number): NearJudgement | undefined {
    if (input.rawKey.length > MAX_KEY_LENGTH) return INVALID_BY_FORM;
    const digest = this.#digests.of(input.rawKey);
    const record = this.#keys.get(digest);
    const nowMs = this.#clock.elapsedMs();
    if (record === undefined) return this.#judgeAbsent(digest, input, nowMs);
    if (nowMs >= record.endsAtMs) {
      this.#keys.delete(digest);
      return undefined;
    }
    const trueAtMs = record.isWatched ? Math.max(record.trueAtMs, this.#stream.trueAtMs) : record.trueAtMs;
    const ageMs = nowMs - trueAtMs;
    const isFresh = ageMs < record.boundMs && trueAtMs >= this.#clock.skippedAtMs;
    if (!isFresh && ageMs >= staleOkMs) return undefined;
    return judgementOf(record, input, { nowMs, ageMs, databaseTime: this.#databaseTime, epoch: this.#stream.epoch });
  }

  #judgeAbsent(digest: string, input: VerifyKeyInput, nowMs: number): NearJudgement | undefined {
    const absent = this.#absent.get(digest);
    if (absent === undefined) return mayBeApiKey(input.rawKey) ? undefined : INVALID_BY_FORM;
    const ageMs = nowMs - absent.trueAtMs;
    if (ageMs < absent.boundMs && absent.trueAtMs >= this.#clock.skippedAtMs) return invalidJudgement(ageMs);
    this.#absent.delete(digest);
    return undefined;
  }

  #keepKey(digest: string, exchange: Exchange, response: VerifyKeyResponse, freshness: Freshness): void {
    const key = response.key!;
    const times = this.#timesOf(exchange, freshness, [key.id, key.ownerId]);
    const known = this.#keys.peek(digest);
    if (times === undefined || (known !== undefined && isLater(known, times))) return;
    this.#absent.delete(digest);
    const { random } = this.#options;
    const nowMs = this.#clock.elapsedMs();
    const facts = {
      ...times,
      digest,
      key,
      secretExpireTime: response.secretExpireTime,
      isOwnerDisabled: verdictNameOf(response) === "OWNER_DISABLED",
      endsAtMs: Math.floor(nowMs + LIFE_MS * (1 - LIFE_SPREAD + 2 * LIFE_SPREAD * random())),
      recheckAtMs: Math.floor(nowMs + MINUTE_MS * (1 + LIFE_SPREAD * random())),
    };
    this.#keys.set(nearRecord(facts, this.#shared));
  }

  #keepAbsent(digest: string, exchange: Exchange, { apiKey, environment = "" }: VerifyRequest, fresh: Freshness): void {
    const form = keyFormOf(apiKey);
    // For a key of another environment, INVALID says nothing about the key.
    if (form === undefined || !isOfEnvironment(environment, form.environment)) return;
    const keyId = ownText(keyIdOf("api", form.id));
    const times = this.#timesOf(exchange, fresh, [keyId]);
    if (times !== undefined) this.#absent.set(digest, { ...times, keyId, boundMs: Math.min(times.boundMs, ABSENT_MS) });
  }

  /** undefined if the answer may not be kept. */
  #timesOf({ sentAtMs }: Exchange, freshness: Freshness, subjectIds: readonly string[]): RecordTimes | undefined {
    const { epoch, age, maxStaleness } = freshness;
    if (age === undefined || maxStaleness === undefined) return undefined;
    const position = Number(freshness.position);
    const standing = this.#stream.standingOf({ epoch, position }, subjectIds);
    if (standing === "refused") return undefined;
    return {
      trueAtMs: Math.floor(sentAtMs - Math.max(0, durationMs(age)) * (1 + DRIFT)),
      position,
      isWatched: standing === "watched",
      boundMs: Math.min(Math.floor(durationMs(maxStaleness)), this.#options.maxStalenessMs),
    };
  }
}
