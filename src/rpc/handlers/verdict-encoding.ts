import { create, toBinary } from "@bufbuild/protobuf";
import type { DatabaseClock } from "../../changes/database-clock.ts";
import { StatusSchema } from "../../gen/google/rpc/status_pb.ts";
import { KeySchema } from "../../gen/latchkey/v1/key_pb.ts";
import { Freshness_Source as Source } from "../../gen/latchkey/v1/key_service_pb.ts";
import type { BatchOutcome } from "../../keys/batch-verify-keys.ts";
import { keyState } from "../../keys/key.ts";
import type { KeyRecord } from "../../keys/key-records.ts";
import type { Tiers } from "../../keys/tiers.ts";
import type { Freshness, KeyVerdict } from "../../keys/verdict.ts";
import type { WindowStatus } from "../../limits/limit.ts";
import { EncodedMessage } from "../call.ts";
import { toRpcStatus } from "../errors.ts";
import { VERDICTS, verdictKey } from "./key-messages.ts";
import { MessageWriter } from "./message-writer.ts";

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
  readonly #databaseClock: Pick<DatabaseClock, "nowMs">;
  readonly #writer = new MessageWriter();

  constructor(tiers: Tiers, databaseClock: Pick<DatabaseClock, "nowMs">) {
    this.#tiers = tiers;
    this.#databaseClock = databaseClock;
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
    const { record } = verdict;
    writer.bool(1, verdict.verdict === "valid");
    writer.int32(2, VERDICTS[verdict.verdict]);
    if (record !== undefined) writer.latin1(3, this.#keyOf(record));
    for (const window of verdict.windows) writer.message(4, window, writeWindow);
    writer.message(5, verdict.retryAfterMs, writeDuration);
    writer.message(6, verdict.freshness, writeFreshness);
    writer.bool(7, verdict.degraded);
    writer.message(8, record?.secretExpiresAtMs, writeTimestamp);
  }

  #keyOf(record: KeyRecord): string {
    const nowMs = this.#databaseClock.nowMs();
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

function writeFreshness(to: MessageWriter, freshness: Freshness): void {
  to.int32(1, freshness.source === "cache" ? Source.CACHE : Source.DATABASE);
  to.message(2, freshness.asOfMs, writeTimestamp);
  to.message(3, freshness.maxStalenessMs, writeDuration);
  to.int64(4, freshness.position);
}

/** A time in whole milliseconds, rounded down as `toTimestamp` does. */
function writeTimestamp(to: MessageWriter, ms: number): void {
  writeSeconds(to, Math.floor(ms));
}

/** A span in whole milliseconds, rounded up as `toDuration` does. Not negative. */
function writeDuration(to: MessageWriter, ms: number): void {
  writeSeconds(to, Math.ceil(ms));
}

function writeSeconds(to: MessageWriter, ms: number): void {
  const seconds = Math.floor(ms / 1000);
  to.integer(1, seconds);
  to.int32(2, (ms - seconds * 1000) * 1e6);
}
