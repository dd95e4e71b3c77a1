import { create, toBinary } from "@bufbuild/protobuf";
import type { DatabaseClock } from "../../changes/database-clock.ts";
import { StatusSchema } from "../../gen/google/rpc/status_pb.ts";
import { KeySchema } from "../../gen/latchkey/v1/key_pb.ts";
import type { BatchOutcome } from "../../keys/batch-verify-keys.ts";
import { keyState } from "../../keys/key.ts";
import type { KeyRecord } from "../../keys/key-records.ts";
import type { Tiers } from "../../keys/tiers.ts";
import type { KeyVerdict } from "../../keys/verdict.ts";
import type { AgeClock } from "../../lib/clock.ts";
import { MessageWriter, writeDuration, writeTimestamp } from "../../lib/message-writer.ts";
import type { WindowStatus } from "../../limits/limit.ts";
import { EncodedMessage } from "../call.ts";
import { toRpcStatus } from "../errors.ts";
import { FreshnessEncoder } from "./freshness-encoding.ts";
import { VERDICTS, verdictKey } from "./key-messages.ts";

/**
 * The version of the rules by which a client may judge a key itself. docs/NEAR-VERIFICATION.md states version 1. A rule
 * that a client must know beside them makes it another version.
 */
const NEAR_RULES = 1;
/** For answers that rest on no record. */
const NEVER_NEAR = 0;

export interface VerdictEncoderDeps {
  readonly tiers: Tiers;
  readonly databaseClock: Pick<DatabaseClock, "nowMs" | "knownMs">;
  /** Measures the age of records. */
  readonly clock: Pick<AgeClock, "elapsedMs">;
}

/**
 * Encoder of verdicts as VerifyKeyResponse. It writes the bytes itself, because a message and its encoding by
 * protobuf-es take as long as all the rest of the call. The bytes are those that protobuf-es would write: a test
 * compares both, and fails for a field that this file does not write.
 *
 * The key of a record is encoded once and kept with the record, because most calls are about a key that was shown
 * before.
 */
export class VerdictEncoder {
  readonly #tiers: Tiers;
  readonly #databaseClock: Pick<DatabaseClock, "nowMs" | "knownMs">;
  readonly #clock: Pick<AgeClock, "elapsedMs">;
  readonly #writer = new MessageWriter();
  readonly #freshness = new FreshnessEncoder();

  constructor({ tiers, databaseClock, clock }: VerdictEncoderDeps) {
    this.#tiers = tiers;
    this.#databaseClock = databaseClock;
    this.#clock = clock;
  }

  /** A VerifyKeyResponse. */
  encode(verdict: KeyVerdict): EncodedMessage {
    this.#writer.begin();
    this.#writeVerdict(verdict);
    return new EncodedMessage(this.#writer.finish());
  }

  /** A BatchVerifyKeysResponse, in the order of the outcomes. */
  encodeBatch(outcomes: readonly BatchOutcome[]): EncodedMessage {
    this.#writer.begin();
    for (const outcome of outcomes) this.#writer.message(1, outcome, this.#writeOutcome);
    return new EncodedMessage(this.#writer.finish());
  }

  readonly #writeOutcome = (writer: MessageWriter, outcome: BatchOutcome): void => {
    if ("verdict" in outcome) writer.message(1, outcome.verdict, (_writer, verdict) => this.#writeVerdict(verdict));
    else writer.bytes(2, toBinary(StatusSchema, create(StatusSchema, toRpcStatus(outcome.error))));
  };

  #writeVerdict(verdict: KeyVerdict): void {
    const writer = this.#writer;
    const { record, freshness } = verdict;
    const elapsedMs = this.#clock.elapsedMs();
    writer.bool(1, verdict.verdict === "valid");
    writer.int32(2, VERDICTS[verdict.verdict]);
    if (record !== undefined) writer.latin1(3, this.#keyOf(record, elapsedMs));
    for (const window of verdict.windows) writer.message(4, window, writeWindow);
    writer.message(5, verdict.retryAfterMs, writeDuration);
    if (freshness !== undefined) {
      const serveMs = this.#databaseClock.knownMs(elapsedMs);
      writer.bytes(6, this.#freshness.encode(freshness, serveMs, elapsedMs - freshness.trueAtMs));
    }
    writer.bool(7, verdict.degraded);
    writer.message(8, record?.secretExpiresAtMs, writeTimestamp);
    writer.int32(9, freshness === undefined ? NEVER_NEAR : NEAR_RULES);
  }

  #keyOf(record: KeyRecord, elapsedMs: number): string {
    const nowMs = this.#databaseClock.nowMs(elapsedMs);
    const state = keyState(record.key, nowMs);
    // Time changes nothing of a key except its state.
    if (record.shown?.state === state) return record.shown.latin1;
    const bytes = toBinary(KeySchema, verdictKey(record, this.#tiers, nowMs));
    const latin1 = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("latin1");
    record.shown = { state, latin1 };
    return latin1;
  }
}

function writeWindow(to: MessageWriter, window: WindowStatus): void {
  to.string(1, window.name);
  to.message(2, window.lengthMs, writeDuration);
  to.int32(3, window.limit);
  to.int32(4, window.remaining);
  to.message(5, window.resetAfterMs, writeDuration);
}
